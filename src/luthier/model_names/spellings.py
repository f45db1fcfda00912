"""How services spell a base model: by rule where the service has one, else as its own pages list it."""

from __future__ import annotations

from functools import lru_cache

from luthier.model_names.model_name import ModelName
from luthier.model_names.parsing import parse_model_name
from luthier.model_names.vendors import AZURE_FORMATS

__all__ = ["azure_format", "printed"]

OPEN_WEIGHTS = ("gpt-oss", "whisper-large")
"""Beginnings of families that OpenAI made and does not serve."""

LISTED = {
    "azure": """
        gpt-oss-120b gpt-oss-20b Llama-3.3-70B-Instruct Meta-Llama-3.1-8B-Instruct Meta-Llama-3.1-70B-Instruct
        Meta-Llama-3.1-405B-Instruct Llama-4-Maverick-17B-128E-Instruct-FP8 Llama-4-Scout-17B-16E-Instruct Phi-4
        Phi-4-mini-instruct Phi-4-reasoning Ministral-3B Codestral-2501 Qwen-32B DeepSeek-R1 DeepSeek-R1-0528
        DeepSeek-V3-0324 DeepSeek-V3.1 grok-3 grok-3-mini Cohere-command-a Cohere-command-r-plus-08-2024
    """,
    "bedrock": """
        meta.llama3-3-70b-instruct-v1:0 meta.llama3-1-8b-instruct-v1:0 meta.llama3-1-70b-instruct-v1:0
        meta.llama3-2-1b-instruct-v1:0 meta.llama3-2-3b-instruct-v1:0 meta.llama4-maverick-17b-instruct-v1:0
        meta.llama4-scout-17b-instruct-v1:0 openai.gpt-oss-120b-1:0 openai.gpt-oss-20b-1:0 qwen.qwen3-32b-v1:0
        mistral.mistral-7b-instruct-v0:2 mistral.mixtral-8x7b-instruct-v0:1 deepseek.r1-v1:0 deepseek.v3-v1:0
        anthropic.claude-3-5-sonnet-20240620-v1:0 anthropic.claude-3-5-sonnet-20241022-v2:0
        anthropic.claude-3-haiku-20240307-v1:0 amazon.nova-lite-v1:0 amazon.nova-micro-v1:0 amazon.nova-pro-v1:0
    """,
    "cerebras": "gpt-oss-120b llama3.1-8b llama-3.3-70b qwen-3-32b",
    "fireworks": """
        accounts/fireworks/models/gpt-oss-120b accounts/fireworks/models/gpt-oss-20b
        accounts/fireworks/models/llama-v3p1-8b-instruct accounts/fireworks/models/llama-v3p1-70b-instruct
        accounts/fireworks/models/llama-v3p3-70b-instruct accounts/fireworks/models/llama4-maverick-instruct-basic
        accounts/fireworks/models/qwen2p5-7b-instruct accounts/fireworks/models/qwen2p5-vl-72b-instruct
        accounts/fireworks/models/qwen3-235b-a22b accounts/fireworks/models/deepseek-v3-0324
        accounts/fireworks/models/deepseek-r1-0528 accounts/fireworks/models/gemma-3-27b-it
    """,
    "groq": """
        openai/gpt-oss-120b openai/gpt-oss-20b llama-3.3-70b-versatile llama-3.1-8b-instant qwen/qwen3-32b
        meta-llama/llama-4-maverick-17b-128e-instruct meta-llama/llama-4-scout-17b-16e-instruct gemma2-9b-it
        deepseek-r1-distill-llama-70b
    """,
    "huggingface": """
        openai/gpt-oss-120b openai/gpt-oss-20b meta-llama/Llama-3.3-70B-Instruct meta-llama/Llama-3.1-8B-Instruct
        meta-llama/Llama-3.1-8B meta-llama/Llama-3.1-70B-Instruct meta-llama/Llama-3.2-1B-Instruct
        meta-llama/Llama-3.2-3B-Instruct meta-llama/Llama-4-Scout-17B-16E-Instruct
        meta-llama/Llama-4-Maverick-17B-128E-Instruct Qwen/Qwen2.5-0.5B-Instruct Qwen/Qwen2.5-1.5B-Instruct
        Qwen/Qwen2.5-3B-Instruct Qwen/Qwen2.5-7B-Instruct Qwen/Qwen2.5-14B-Instruct Qwen/Qwen2.5-32B-Instruct
        Qwen/Qwen2.5-72B-Instruct Qwen/Qwen2.5-7B Qwen/Qwen3-4B Qwen/Qwen3-8B Qwen/Qwen3-14B Qwen/Qwen3-32B
        Qwen/Qwen3-Embedding-8B google/gemma-2-9b-it google/gemma-3-27b-it mistralai/Mistral-7B-Instruct-v0.2
        mistralai/Mistral-7B-Instruct-v0.3 mistralai/Mixtral-8x7B-Instruct-v0.1
        mistralai/Mistral-Small-24B-Instruct-2501 microsoft/phi-4 microsoft/Phi-4-mini-instruct
        microsoft/Phi-3.5-mini-instruct deepseek-ai/DeepSeek-R1 deepseek-ai/DeepSeek-R1-0528
        deepseek-ai/DeepSeek-V3 deepseek-ai/DeepSeek-V3-0324 deepseek-ai/DeepSeek-V3.1
        deepseek-ai/DeepSeek-R1-Distill-Qwen-7B deepseek-ai/DeepSeek-R1-Distill-Llama-70B
    """,
    "ollama": """
        gpt-oss:20b gpt-oss:120b llama3.3:70b llama3.1:8b llama3.1:70b llama3.2:1b llama3.2:3b qwen2.5:0.5b
        qwen2.5:1.5b qwen2.5:3b qwen2.5:7b qwen2.5:14b qwen2.5:32b qwen2.5:72b qwen3:4b qwen3:8b qwen3:14b qwen3:32b
        gemma2:9b gemma3:27b phi4:14b deepseek-r1:7b deepseek-r1:70b
    """,
    "openrouter": """
        openai/gpt-oss-120b openai/gpt-oss-20b meta-llama/llama-3.3-70b-instruct meta-llama/llama-3.1-8b-instruct
        meta-llama/llama-3.1-70b-instruct meta-llama/llama-3.2-1b-instruct meta-llama/llama-3.2-3b-instruct
        qwen/qwen-2.5-7b-instruct qwen/qwen-2.5-72b-instruct qwen/qwen3-8b qwen/qwen3-14b qwen/qwen3-32b
        google/gemma-2-9b-it google/gemma-3-27b-it microsoft/phi-4 mistralai/ministral-3b deepseek/deepseek-r1
        deepseek/deepseek-r1-0528 deepseek/deepseek-chat-v3-0324 deepseek/deepseek-chat-v3.1
    """,
    "together": """
        openai/gpt-oss-120b openai/gpt-oss-20b meta-llama/Llama-3.3-70B-Instruct-Turbo
        meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo
        meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8 meta-llama/Llama-4-Scout-17B-16E-Instruct
        Qwen/Qwen2.5-7B-Instruct-Turbo Qwen/Qwen2.5-72B-Instruct-Turbo Qwen/Qwen3.5-9B
        mistralai/Mistral-7B-Instruct-v0.2 mistralai/Mixtral-8x7B-Instruct-v0.1
    """,
}
"""Names of open weights, and of others that are served by hosts, as each service writes them."""

SAME = {"vllm": "huggingface"}
"""Providers that use the names of another."""


def printed(model: ModelName, provider: str) -> str | None:
    """How a provider spells a base model; `None` where that is not known, which does not say that it lacks the model.

    Args:
        model: a base model; a fine-tuned one has the name that its service gave it.
        provider: as in an `endpoint:`, or `bedrock`, `cerebras`, `groq`, `huggingface`, `ollama`, `openrouter`. At
            Azure it is the name that a job is given, with the snapshot; a deployment has that as its version.

    Examples:
        >>> model = parse_model_name("meta-llama/Llama-3.3-70B-Instruct")
        >>> printed(model, "fireworks"), printed(model, "groq"), printed(model, "openai")
        ('accounts/fireworks/models/llama-v3p3-70b-instruct', 'llama-3.3-70b-versatile', None)
        >>> printed(parse_model_name("gpt-3.5-turbo-0125"), "azure")
        'gpt-35-turbo-0125'
    """
    if model.is_tuned:
        return None
    if provider in ("openai", "azure") and model.vendor == "openai" and not model.family.startswith(OPEN_WEIGHTS):
        spelled = model.spelled.replace("gpt-3.5-", "gpt-35-") if provider == "azure" else model.spelled
        return spelled if parse_model_name(spelled) == model else None
    return _listed(SAME.get(provider, provider)).get(model)


def azure_format(model: ModelName) -> str:
    """What Azure calls the `format` of a model, or of a fine-tune of it.

    Examples:
        >>> azure_format(parse_model_name("Ministral-3B.ft-0123")), azure_format(parse_model_name("gpt-oss-20b"))
        ('Mistral AI', 'Microsoft')
    """
    if model.family.startswith(OPEN_WEIGHTS[0]):
        return "Microsoft"
    return AZURE_FORMATS.get(model.vendor or "openai", "OpenAI")


@lru_cache
def _listed(provider: str) -> dict[ModelName, str]:
    return {parse_model_name(name): name for name in reversed(LISTED.get(provider, "").split())}

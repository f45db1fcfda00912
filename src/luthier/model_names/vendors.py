"""Who makes models: the spellings of each vendor, and whose a family is where a name has no vendor."""

from __future__ import annotations

import re

__all__ = ["AZURE_FORMATS", "FAMILY_VENDORS", "PASSED_ON", "known_vendor"]

SPELLINGS = {
    "ai21": ("ai21", "ai21labs", "ai21 labs"),
    "alibaba": ("alibaba", "qwen"),
    "amazon": ("amazon",),
    "anthropic": ("anthropic",),
    "baidu": ("baidu",),
    "cohere": ("cohere", "cohereforai", "coherelabs"),
    "deepseek": ("deepseek", "deepseek-ai", "deepseekai"),
    "google": ("google", "google-deepmind"),
    "ibm": ("ibm", "ibm-granite"),
    "meta": ("meta", "meta-llama", "meta-models", "facebook"),
    "microsoft": ("microsoft",),
    "minimax": ("minimax", "minimaxai"),
    "mistral": ("mistral", "mistralai", "mistral-ai", "mistral ai"),
    "moonshotai": ("moonshotai", "moonshot", "moonshot-ai", "moonshot ai"),
    "nvidia": ("nvidia",),
    "openai": ("openai", "openai-oss", "openai-community"),
    "perplexity": ("perplexity", "perplexity-ai"),
    "tencent": ("tencent",),
    "xai": ("xai", "x-ai"),
    "xiaomi": ("xiaomi", "xiaomimimo"),
    "zai": ("zai", "z-ai", "zai-org", "thudm", "zhipuai"),
}
"""What organisations are called in the paths of hosts, in Azure's model formats and before the dot at Bedrock."""

VENDORS = {spelling: vendor for vendor, spellings in SPELLINGS.items() for spelling in spellings}

HOSTS = """
    amazon-bedrock anyscale azure azure_ai azureml baseten bedrock cerebras cloudflare databricks deepinfra fireworks
    fireworks_ai fireworks-ai github groq hosted_vllm huggingface hyperbolic lambda litellm lm_studio lmstudio models
    nebius novita nscale ollama openrouter ovhcloud perplexity replicate sambanova together together_ai together-ai
    vertex_ai vertexai vllm workers-ai
"""

REPACKERS = """
    bartowski casperhansen ggml-org lmstudio-community mlx-community mradermacher neuralmagic nm-testing quantfactory
    redhatai second-state thebloke turboderp unsloth
"""
"""Organisations that pack the weights of others under the same names."""

PASSED_ON = frozenset(HOSTS.split() + REPACKERS.split())
"""First parts of paths that say where a model is served or who packed it, and not who made it."""

AZURE_FORMATS = {
    "alibaba": "Alibaba",
    "cohere": "Cohere",
    "deepseek": "DeepSeek",
    "meta": "Meta",
    "microsoft": "Microsoft",
    "mistral": "Mistral AI",
    "openai": "OpenAI",
    "xai": "xAI",
}
"""Azure's `format` of a model, by its vendor. Of gpt-oss it is `Microsoft`."""

FAMILY_VENDORS = {
    word: (vendor, re.compile(pattern))
    for vendor, pattern, words in (
        ("openai", r"(gpt-(\d|oss|image|audio|realtime|chat-|live|transcribe|rosalind)|chatgpt-)", "gpt chatgpt"),
        ("openai", r"o\d(-|$)", "o"),
        ("openai", r"text-(embedding-(3-|ada)|(ada|babbage|curie|davinci|moderation)-)", "text"),
        (
            "openai",
            r"(ada|babbage|curie|davinci)(-\d+)?$|whisper-(1|large|medium|small|base|tiny)",
            "ada babbage curie davinci whisper",
        ),
        (
            "openai",
            r"tts-1|dall-e-|omni-moderation|codex-mini|computer-use|sora-\d",
            "tts dall omni codex computer sora",
        ),
        (
            "meta",
            # Many others name what they made of it after it: llama-3.1-nemotron, llama-3-lumimaid.
            r"llama-\d(\.\d)?(-\d+b(-(chat|instruct|vision|vision-instruct))?$|-(scout|maverick)\b|$)|(code)?llama-(guard|prompt|\d+b)",
            "llama codellama",
        ),
        ("meta", r"muse-", "muse"),
        ("anthropic", r"claude-", "claude"),
        ("google", r"(gemini|gemma|palm)-", "gemini gemma palm"),
        ("alibaba", r"(qwen(-|\d)|qwq-|qvq-)(?!sea-lion)", "qwen qwq qvq"),
        (
            "mistral",
            r"\w+-?(?!.*(orca|hermes|dolphin))",
            "mistral ministral mixtral codestral pixtral magistral devstral voxtral mathstral",
        ),
        ("deepseek", r"deepseek-", "deepseek"),
        ("microsoft", r"(phi|mai)-", "phi mai"),
        ("xai", r"grok-", "grok"),
        ("cohere", r"(command(-|$)|c4ai-|aya-|embed-(v\d|english|multilingual))", "command c aya embed"),
        ("moonshotai", r"(kimi|moonshot)-", "kimi moonshot"),
        ("zai", r"glm-", "glm"),
        ("minimax", r"minimax-", "minimax"),
        ("nvidia", r"nemotron-", "nemotron"),
        ("amazon", r"(nova|titan)-", "nova titan"),
        ("ai21", r"jamba-", "jamba"),
        ("ibm", r"granite-", "granite"),
        ("perplexity", r"(sonar(-|$)|r1-1776|pplx-)", "sonar r pplx"),
        ("xiaomi", r"mimo-", "mimo"),
        ("baidu", r"ernie-", "ernie"),
    )
    for word in words.split()
}
"""By the first word of a family: whose it is, if the family also reads so."""


def known_vendor(spelling: str) -> str | None:
    """The vendor that an organisation of a path, or a model format of Azure, stands for.

    Examples:
        >>> known_vendor("meta-llama"), known_vendor("Mistral AI"), known_vendor("someone")
        ('meta', 'mistral', None)
    """
    return VENDORS.get(spelling.lower())

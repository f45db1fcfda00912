"""Real names of models, and the model that each stands for."""

from __future__ import annotations

import pytest

from luthier.model_names import ModelName, parse_model_name

KEYS = {
    # OpenAI: aliases, dated snapshots, days without a year, previews.
    "openai/gpt-4.1-mini": [
        "gpt-4.1-mini",
        "GPT-4.1-mini",
        "openai/gpt-4.1-mini",
        "openai/gpt-4.1-mini:batch",
        " gpt-4.1-mini ",
    ],
    "openai/gpt-4.1-mini@2025-04-14": ["gpt-4.1-mini-2025-04-14", "azure/gpt-4.1-mini-2025-04-14"],
    "openai/gpt-4.1-nano": ["gpt-4.1-nano"],
    "openai/gpt-4.1": ["gpt-4.1", "openai.gpt-4.1"],
    "openai/gpt-4o": ["gpt-4o", "openai/gpt-4o"],
    "openai/gpt-4o:extended": ["gpt-4o:extended", "openai/gpt-4o:extended"],
    "openai/gpt-4o@2024-08-06": ["gpt-4o-2024-08-06"],
    "openai/gpt-4o@2024-05-13": ["gpt-4o-2024-05-13", "openai/gpt-4o-2024-05-13"],
    "openai/gpt-4o-mini@2024-07-18": ["gpt-4o-mini-2024-07-18"],
    "openai/gpt-4o-mini-search-preview@2025-03-11": ["gpt-4o-mini-search-preview-2025-03-11"],
    "openai/gpt-4o-audio-preview@2024-12-17": ["gpt-4o-audio-preview-2024-12-17"],
    "openai/chatgpt-4o-latest": ["chatgpt-4o-latest", "openai/chatgpt-4o-latest"],
    "openai/gpt-chat-latest": ["gpt-chat-latest"],
    "openai/gpt-3.5-turbo": ["gpt-3.5-turbo", "gpt-35-turbo", "GPT-35-Turbo", "openai/gpt-3.5-turbo"],
    "openai/gpt-3.5-turbo@0125": ["gpt-3.5-turbo-0125", "gpt-35-turbo-0125"],
    "openai/gpt-3.5-turbo@1106": ["gpt-3.5-turbo-1106", "openai/gpt-3.5-turbo-1106"],
    "openai/gpt-3.5-turbo-16k@0613": ["gpt-3.5-turbo-16k-0613", "gpt-35-turbo-16k-0613"],
    "openai/gpt-3.5-turbo-instruct": ["gpt-3.5-turbo-instruct", "gpt-35-turbo-instruct"],
    "openai/gpt-3.5-turbo-instruct@0914": ["gpt-3.5-turbo-instruct-0914"],
    "openai/gpt-4": ["gpt-4"],
    "openai/gpt-4@0613": ["gpt-4-0613"],
    "openai/gpt-4@1106-preview": ["gpt-4-1106-preview", "openai/gpt-4-1106-preview"],
    "openai/gpt-4-turbo@2024-04-09": ["gpt-4-turbo-2024-04-09"],
    "openai/gpt-4-turbo-preview": ["gpt-4-turbo-preview"],
    "openai/gpt-4-32k": ["gpt-4-32k", "openai/gpt-4-32k"],
    "openai/gpt-5-mini@2025-08-07": ["gpt-5-mini-2025-08-07"],
    "openai/gpt-5.6-luna": [
        "gpt-5.6-luna",
        "global.openai.gpt-5.6-luna",
        "regional.openai.gpt-5.6-luna",
        "openai/gpt-5.6-luna:batch",
    ],
    "openai/o1": ["o1"],
    "openai/o1@2024-12-17": ["o1-2024-12-17"],
    "openai/o3-mini@2025-01-31": ["o3-mini-2025-01-31"],
    "openai/o4-mini": ["o4-mini", "openai/o4-mini:batch"],
    "openai/o4-mini@2025-04-16": ["o4-mini-2025-04-16"],
    "openai/o4-mini-deep-research": ["o4-mini-deep-research"],
    "openai/text-embedding-3-small": ["text-embedding-3-small", "openai/text-embedding-3-small"],
    "openai/text-embedding-3-large": ["text-embedding-3-large"],
    "openai/text-embedding-ada-002": ["text-embedding-ada-002"],
    "openai/davinci-002": ["davinci-002"],
    "openai/babbage-002": ["babbage-002"],
    "openai/whisper-1": ["whisper-1"],
    "openai/whisper-large-v3-turbo": ["whisper-large-v3-turbo", "openai/whisper-large-v3-turbo"],
    "openai/omni-moderation-latest": ["omni-moderation-latest"],
    # OpenAI's fine-tunes.
    "openai/gpt-4o-mini@2024-07-18#9xYz": [
        "ft:gpt-4o-mini-2024-07-18:acme:stars:9xYz",
        "ft:gpt-4o-mini-2024-07-18:acme::9xYz",
        "ft:gpt-4o-mini-2024-07-18:::9xYz",
    ],
    "openai/gpt-4.1-mini@2025-04-14#abc:90": ["ft:gpt-4.1-mini-2025-04-14:acme:stars:abc:ckpt-step-90"],
    "openai/gpt-3.5-turbo@0125#AbC": ["ft:gpt-3.5-turbo-0125:acme::AbC"],
    "openai/gpt-3.5-turbo#AbC": ["ft:gpt-3.5-turbo:acme::AbC"],
    "openai/davinci-002#8k": ["ft:davinci-002:acme:x:8k"],
    "openai/davinci#acme-2023-04-01-12-00-00": ["davinci:ft-acme-2023-04-01-12-00-00"],
    "openai/curie#acme%3Astars-2022-02-15-04-21-04": ["curie:ft-acme:stars-2022-02-15-04-21-04"],
    # What looks like a fine-tune and names none.
    "ft:gpt-4o": ["ft:gpt-4o"],
    # Azure's fine-tunes.
    "openai/gpt-4.1-mini@2025-04-14#0e208cf33a6a466994aff31a08aba678": [
        "gpt-4.1-mini-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678",
        "gpt-4.1-mini-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678-stars",
        "gpt-4.1-mini-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678-our-stars-2",
    ],
    "openai/gpt-4.1-mini@2025-04-14#0e208cf33a6a466994aff31a08aba678:75": [
        "gpt-4.1-mini-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678:ckpt-step-75",
        "gpt-4.1-mini-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678-stars:ckpt-step-75",
    ],
    "openai/gpt-3.5-turbo@0125#0a1b": ["gpt-35-turbo-0125.ft-0a1b"],
    "openai/gpt-oss-20b#0a1b": ["gpt-oss-20b.ft-0a1b", "GPT-OSS-20B.ft-0A1B"],
    "alibaba/qwen-32b#0123": ["Qwen-32B.ft-0123"],
    "mistral/ministral-3b#0123": ["Ministral-3B.ft-0123-stars"],
    "meta/llama-3.3-70b-instruct#0123": ["Llama-3.3-70B-Instruct.ft-0123"],
    "ftchkpt-0123abcd#0123abcd": ["ftchkpt-0123abcd"],
    # Llama 3.3, which exists as Instruct only.
    "meta/llama-3.3-70b-instruct": [
        "Llama-3.3-70B-Instruct",
        "meta-llama/Llama-3.3-70B-Instruct",
        "meta-llama/Meta-Llama-3.3-70B-Instruct",
        "Meta-Llama-3.3-70B-Instruct",
        "Meta-Llama-3_3-70B-Instruct",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo-Free",
        "accounts/fireworks/models/llama-v3p3-70b-instruct",
        "llama-v3p3-70b-instruct",
        "llama-3.3-70b-versatile",
        "groq/llama-3.3-70b-versatile",
        "llama-3.3-70b-specdec",
        "llama3.3-70b",
        "llama-3.3-70b",
        "meta-llama/llama-3.3-70b-instruct:free",
        "openrouter/meta-llama/llama-3.3-70b-instruct",
        "llama3.3:70b",
        "llama3.3:70b-instruct-q4_K_M",
        "meta.llama3-3-70b-instruct-v1:0",
        "us.meta.llama3-3-70b-instruct-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-3-70b-instruct-v1:0",
        "meta/llama-3.3-70b-instruct-maas",
        "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
        "databricks-meta-llama-3-3-70b-instruct",
        "meta-llama/Llama-3.3-70B-Instruct:groq",
        "hf.co/bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M",
        "bartowski/Llama-3.3-70B-Instruct-GGUF",
        "unsloth/Llama-3.3-70B-Instruct-bnb-4bit",
        "RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic",
        "casperhansen/Llama-3.3-70B-Instruct-AWQ",
        "mlx-community/Llama-3.3-70B-Instruct-4bit",
        "Llama-3.3-70B-Instruct-Q4_K_M.gguf",
        "Llama-3.3-70B-Instruct-Q8_0-00001-of-00002.gguf",
        "Llama-3.3-70B-Instruct-IQ3_XXS.gguf",
        "/data/models/Llama-3.3-70B-Instruct",
        "azureml://registries/azureml-meta/models/Llama-3.3-70B-Instruct/versions/9",
        "registry.ollama.ai/library/llama3.3:70b",
        "C:\\models\\Llama-3.3-70B-Instruct-Q4_K_M.gguf",
    ],
    # Other models of Meta: the size, the generation and what they were trained for tell them apart.
    "meta/llama-3.1-8b-instruct": [
        "llama-3.1-8b-instant",
        "llama3.1-8b",
        "llama3.1:8b",
        "llama3.1:8b-instruct-q8_0",
        "llama-v3p1-8b-instruct",
        "meta-llama/Meta-Llama-3.1-8B-Instruct",
        "meta-llama/Meta-Llama-3.1-8B-Instruct-Reference",
        "lmstudio-community/Meta-Llama-3.1-8B-Instruct-GGUF/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
        "nm-testing/Meta-Llama-3.1-8B-Instruct-W8A8",
    ],
    "meta/llama-3.1-8b": [
        "meta-llama/Llama-3.1-8B",
        "meta-llama/Meta-Llama-3.1-8B",
        "llama3.1:8b-text",
        "llama3.1:8b-text-q4_0",
    ],
    "meta/llama-3-8b-instruct": [
        "llama3-8b-8192",
        "llama3:8b",
        "meta-llama/Llama-3-8b-chat-hf",
        "meta.llama3-8b-instruct-v1:0",
    ],
    "meta/llama-3-8b": ["meta-llama/Meta-Llama-3-8B"],
    "meta/llama-3-70b-instruct": ["llama3-70b-8192", "meta-llama/Meta-Llama-3-70B-Instruct-Lite"],
    "meta/llama-3.1-405b": ["meta-llama/llama-3.1-405b:free"],
    "meta/llama-3.2-1b-instruct": ["llama3.2:1b", "meta.llama3-2-1b-instruct-v1:0", "llama-3.2-1b-preview"],
    "meta/llama-3.2-11b-vision-instruct": ["llama-3.2-11b-vision-preview", "Llama-3.2-11B-Vision-Instruct"],
    "meta/llama-2-7b-chat": [
        "llama2:7b",
        "meta-llama/Llama-2-7b-chat-hf",
        "llama-2-7b-chat.Q4_K_M.gguf",
        "@cf/meta/llama-2-7b-chat-fp16",
    ],
    "meta/llama-2-13b-chat": ["meta.llama2-13b-chat-v1", "meta-llama/llama-2-13b-chat"],
    "meta/llama-2-7b": ["meta-llama/Llama-2-7b-hf"],
    "meta/llama-4-maverick-17b-128e-instruct": [
        "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
        "meta.llama4-maverick-17b-instruct-v1:0",
        "llama4-maverick-instruct-basic",
        "meta-llama/llama-4-maverick:free",
        "databricks-llama-4-maverick",
    ],
    "meta/llama-4-scout-17b-16e-instruct": ["meta-llama/llama-4-scout", "meta.llama4-scout-17b-instruct-v1:0"],
    "meta/llama-guard-3-8b": ["llama-guard-3-8b", "@cf/meta/llama-guard-3-8b"],
    # Made by others of Meta's models.
    "nvidia/llama-3.1-nemotron-70b-instruct": [
        "nvidia/llama-3.1-nemotron-70b-instruct:free",
        "nvidia/Llama-3_1-Nemotron-70B-Instruct",
    ],
    "llama-3.1-nemotron-ultra-253b-v1": ["llama-3.1-nemotron-ultra-253b-v1:free"],
    "neversleep/llama-3-lumimaid-70b": ["neversleep/llama-3-lumimaid-70b"],
    "someone/llama-3.1-8b-instruct": ["someone/Llama-3.1-8B-Instruct"],
    # Qwen.
    "alibaba/qwen2.5-7b-instruct": [
        "Qwen2.5-7B-Instruct-Q4_K_M.gguf",
        "qwen2.5-7b-instruct-q5_0.gguf",
        "Qwen/Qwen2.5-7B-Instruct",
        "Qwen/Qwen2.5-7B-Instruct-Turbo",
        "Qwen/Qwen2.5-7B-Instruct-AWQ",
        "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4",
        "qwen/qwen-2.5-7b-instruct:free",
        "accounts/fireworks/models/qwen2p5-7b-instruct",
        "qwen2.5:7b",
        "qwen2.5:7b-instruct-fp16",
        "qwen2.5-7b-instruct@q4_k_m",
        "lmstudio-community/Qwen2.5-7B-Instruct-MLX-8bit",
        "./models/Qwen2.5-7B-Instruct-Q4_K_M.gguf",
    ],
    "alibaba/qwen2.5-7b": ["Qwen/Qwen2.5-7B", "qwen2.5:7b-base"],
    "alibaba/qwen2.5-coder-7b-instruct": ["Qwen/Qwen2.5-Coder-7B-Instruct", "qwen2.5-coder:7b"],
    "alibaba/qwen2.5-vl-72b-instruct": [
        "Qwen/Qwen2.5-VL-72B-Instruct",
        "qwen/qwen-2.5-vl-72b-instruct",
        "qwen2p5-vl-72b-instruct",
    ],
    "alibaba/qwen3-32b": ["Qwen/Qwen3-32B", "qwen-3-32b", "qwen3:32b", "qwen.qwen3-32b-v1:0", "qwen/qwen3-32b"],
    "alibaba/qwen3-14b": ["Qwen/Qwen3-14B-FP8"],
    "alibaba/qwen3-235b-a22b-instruct@2507": [
        "Qwen/Qwen3-235B-A22B-Instruct-2507",
        "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
    ],
    "alibaba/qwen3-235b-a22b-thinking@2507": ["qwen/qwen3-235b-a22b-thinking-2507"],
    "alibaba/qwen3-embedding-8b": ["Qwen/Qwen3-Embedding-8B"],
    "alibaba/qwen-32b": ["Qwen-32B"],
    "alibaba/qwq-32b": ["Qwen/QwQ-32B", "qwq:32b", "qwq-32b:free"],
    "alibaba/qwen3.5-plus@2026-04-20": ["qwen/qwen3.5-plus-20260420"],
    "aisingapore/qwen-sea-lion-v4-32b-it": ["aisingapore/Qwen-SEA-LION-v4-32B-IT"],
    # Mistral.
    "mistral/ministral-3b": ["Ministral-3B", "mistralai/ministral-3b", "ministral-3b-latest"],
    "mistral/mistral-7b-instruct@v0.2": [
        "mistralai/Mistral-7B-Instruct-v0.2",
        "mistral.mistral-7b-instruct-v0:2",
        "mistral-7b-instruct-v0.2.Q4_K_M.gguf",
    ],
    "mistral/mistral-7b@v0.1": ["mistralai/Mistral-7B-v0.1"],
    "mistral/mixtral-8x7b-instruct@v0.1": [
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "mistral.mixtral-8x7b-instruct-v0:1",
    ],
    "mistral/mistral-large@2402": ["mistral.mistral-large-2402-v1:0", "mistral-large-2402", "mistral-large@2402"],
    "mistral/mistral-small-24b-instruct@2501": [
        "mistralai/Mistral-Small-24B-Instruct-2501",
        "mistral-small-24b-instruct-2501:free",
    ],
    "mistral/mistral-nemo": ["mistral-nemo", "mistralai/mistral-nemo:free"],
    "mistral/codestral@2508": ["codestral-2508"],
    # DeepSeek.
    "deepseek/deepseek-r1": [
        "deepseek-ai/DeepSeek-R1",
        "deepseek.r1-v1:0",
        "us.deepseek.r1-v1:0",
        "deepseek/deepseek-r1:free",
        "deepseek-r1:671b",
        "DeepSeek-R1",
    ],
    "deepseek/deepseek-r1@0528": ["deepseek-ai/DeepSeek-R1-0528", "deepseek/deepseek-r1-0528"],
    "deepseek/deepseek-v3@0324": ["deepseek-ai/DeepSeek-V3-0324", "deepseek/deepseek-chat-v3-0324", "DeepSeek-V3-0324"],
    "deepseek/deepseek-v3": [
        "deepseek-ai/DeepSeek-V3",
        "deepseek/deepseek_v3",
        "accounts/fireworks/models/deepseek-v3",
    ],
    "deepseek/deepseek-v3.1": ["deepseek-ai/DeepSeek-V3.1", "deepseek.v3-v1:0", "deepseek/deepseek-chat-v3.1"],
    "deepseek/deepseek-v3.2": ["deepseek-v3p2", "deepseek-ai/DeepSeek-V3.2"],
    "deepseek/deepseek-r1-distill-qwen-7b": ["deepseek-r1:7b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"],
    "deepseek/deepseek-r1-distill-llama-70b": ["deepseek-r1-distill-llama-70b", "deepseek-r1:70b"],
    "deepseek/deepseek-r1-0528-qwen3-8b": ["deepseek-r1-0528-qwen3-8b:free"],
    # Microsoft, Google, Anthropic, xAI, Cohere, Amazon and the rest.
    "microsoft/phi-4": ["Phi-4", "microsoft/phi-4", "phi4:14b", "phi-4-Q4_K.gguf"],
    "microsoft/phi-4-mini-instruct": ["Phi-4-mini-instruct"],
    "microsoft/phi-3.5-mini-instruct": ["Phi-3.5-mini-instruct", "microsoft/Phi-3.5-mini-instruct"],
    "google/gemma-2-9b-it": ["gemma2-9b-it", "google/gemma-2-9b-it:free", "gemma2:9b", "gemma-2-9b-it-Q6_K.gguf"],
    "google/gemma-2-9b": ["google/gemma-2-9b", "gemma2:9b-text"],
    "google/gemma-3-27b-it": ["gemma3:27b", "google/gemma-3-27b-it", "google.gemma-3-27b-it"],
    "google/gemma-3-27b-it-qat": ["google/gemma-3-27b-it-qat"],
    "google/gemini-1.5-flash-8b": ["gemini-flash-1.5-8b", "gemini-1.5-flash-8b", "models/gemini-1.5-flash-8b"],
    "google/gemini-1.5-pro": ["gemini-pro-1.5", "gemini-1.5-pro-latest", "google/gemini-pro-1.5"],
    "google/gemini-2.0-flash@001": [
        "gemini-2.0-flash-001",
        "projects/p/locations/us-central1/publishers/google/models/gemini-2.0-flash-001",
    ],
    "google/gemini-2.5-flash-lite-preview@2025-09": ["google/gemini-2.5-flash-lite-preview-09-2025"],
    "google/gemini-2.5-pro-exp@03-25": ["gemini-2.5-pro-exp-03-25"],
    "anthropic/claude-3.5-sonnet@2024-10-22": [
        "claude-3-5-sonnet-20241022",
        "claude-3-5-sonnet@20241022",
        "claude-3-5-sonnet-v2@20241022",
        "anthropic.claude-3-5-sonnet-20241022-v2:0",
        "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "vertex_ai/claude-3-5-sonnet@20241022",
    ],
    "anthropic/claude-3.5-sonnet@2024-06-20": ["anthropic.claude-3-5-sonnet-20240620-v1:0"],
    "anthropic/claude-3.5-haiku": ["claude-3-5-haiku-latest", "anthropic/claude-3.5-haiku"],
    "anthropic/claude-sonnet-4@2025-05-14": [
        "claude-sonnet-4-20250514",
        "global.anthropic.claude-sonnet-4-20250514-v1:0",
    ],
    "anthropic/claude-sonnet-4": ["claude-sonnet-4-0", "claude-4-sonnet", "anthropic/claude-sonnet-4"],
    "anthropic/claude-opus-4.1": ["claude-opus-4-1", "anthropic/claude-opus-4.1:batch"],
    "anthropic/claude-2.1": ["claude-2.1", "anthropic.claude-v2:1"],
    "anthropic/claude-2": ["claude-2", "anthropic.claude-v2"],
    "anthropic/claude-opus-latest": ["~anthropic/claude-opus-latest"],
    "xai/grok-4.1-fast": ["x-ai/grok-4.1-fast:free", "grok-4-1-fast"],
    "xai/grok-4@0709": ["grok-4-0709"],
    "xai/grok-3-mini": ["grok-3-mini"],
    "cohere/command-r-plus@2024-08": [
        "command-r-plus-08-2024",
        "Cohere-command-r-plus-08-2024",
        "cohere/command-r-plus-08-2024",
    ],
    "cohere/command-r": ["cohere.command-r-v1:0", "command-r"],
    "amazon/nova-lite": ["amazon.nova-lite-v1:0", "amazon/nova-lite-v1"],
    "amazon/titan-embed-text-v2": ["amazon.titan-embed-text-v2:0"],
    "moonshotai/kimi-k2.5": ["moonshotai/Kimi-K2.5", "kimi-k2p5", "@cf/moonshotai/kimi-k2.5"],
    "zai/glm-4.7": ["GLM-4.7", "glm-4p7", "zai-org/GLM-4.7-FP8", "z-ai/glm-4.7"],
    "openai/gpt-oss-20b": [
        "gpt-oss-20b",
        "openai/gpt-oss-20b",
        "gpt-oss:20b",
        "openai.gpt-oss-20b-1:0",
        "accounts/fireworks/models/gpt-oss-20b",
    ],
    "openai/gpt-oss-120b": ["databricks-gpt-oss-120b", "lm_studio/openai/gpt-oss-120b"],
    "nvidia/nemotron-nano-9b-v2": ["nvidia.nemotron-nano-9b-v2:0", "nvidia/NVIDIA-Nemotron-Nano-9B-v2"],
    "ai21/jamba-1.5-large": ["ai21.jamba-1-5-large-v1:0", "AI21-Jamba-1.5-Large", "ai21/jamba-1-5-large"],
    "prism-ml/ternary-bonsai-27b": ["prism-ml/Ternary-Bonsai-27B-AWQ-4bit", "prism-ml/Ternary-Bonsai-27B-gguf"],
    # Names that say nothing of a known model are families of their own.
    "our-stars": ["our-stars", "OUR-STARS"],
    "my model (2)": ["My Model (2)"],
    "accounts/me/x": ["accounts/me/models/x", "accounts/ME/deployedModels/x"],
    "accounts/me/llama-v3p3-70b-instruct": ["accounts/me/models/llama-v3p3-70b-instruct"],
    "togethercomputer/redpajama-incite-7b-base": ["togethercomputer/RedPajama-INCITE-7B-Base"],
    "/data/run-7/checkpoint-500": ["/data/run-7/checkpoint-500"],
    "gpt-neox-20b": ["gpt-neox-20b"],
    "azureml://registries/ours/models/stars/versions/2": ["azureml://registries/ours/models/stars/versions/2"],
    "mymodel:9": ["mymodel:9"],
    "half%23done": ["half#done"],
}


@pytest.mark.parametrize(("name", "key"), [(name, key) for key, names in KEYS.items() for name in names])
def test_a_name_stands_for_the_model_that_it_says(name: str, key: str) -> None:
    assert parse_model_name(name).key == key


@pytest.mark.parametrize(
    ("name", "version", "vendor", "key"),
    [
        ("gpt-4o", "2024-08-06", "OpenAI", "openai/gpt-4o@2024-08-06"),
        ("gpt-4.1-mini", "2025-04-14", None, "openai/gpt-4.1-mini@2025-04-14"),
        ("gpt-35-turbo", "0125", "OpenAI", "openai/gpt-3.5-turbo@0125"),
        ("gpt-35-turbo-16k", "0613", None, "openai/gpt-3.5-turbo-16k@0613"),
        ("gpt-4", "turbo-2024-04-09", None, "openai/gpt-4-turbo@2024-04-09"),
        ("gpt-4", "0125-Preview", None, "openai/gpt-4@0125-preview"),
        ("gpt-4", "vision-preview", None, "openai/gpt-4-vision-preview"),
        ("gpt-4o", "1", None, "openai/gpt-4o"),
        ("gpt-4o", "", None, "openai/gpt-4o"),
        ("text-embedding-3-small", "1", None, "openai/text-embedding-3-small"),
        ("Llama-3.3-70B-Instruct", "9", "Meta", "meta/llama-3.3-70b-instruct"),
        ("Phi-4", "7", "Microsoft", "microsoft/phi-4"),
        ("Ministral-3B", "1", "Mistral AI", "mistral/ministral-3b"),
        ("gpt-oss-20b", "1", "Microsoft", "openai/gpt-oss-20b"),
        ("Qwen-32B", "1", "Alibaba", "alibaba/qwen-32b"),
        ("DeepSeek-V3-0324", "1", "DeepSeek", "deepseek/deepseek-v3@0324"),
        ("Cohere-command-a", "1", "Cohere", "cohere/command-a"),
        ("grok-3-mini", "1", "xAI", "xai/grok-3-mini"),
        ("model-router", "2025-08-07", "OpenAI", "openai/model-router@2025-08-07"),
        ("gpt-4.1-mini-2025-04-14.ft-0a1b-stars", "1", "OpenAI", "openai/gpt-4.1-mini@2025-04-14#0a1b"),
        ("ftchkpt-0a1b", "1", "OpenAI", "ftchkpt-0a1b#0a1b"),
        ("our-thing", None, "Someone Else", "someone else/our-thing"),
    ],
)
def test_a_version_and_a_format_of_azure_complete_the_name(
    name: str, version: str | None, vendor: str | None, key: str
) -> None:
    assert parse_model_name(name, version=version, vendor=vendor).key == key


DIFFERENT = [
    [
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4.1-nano",
        "gpt-4.1-mini-2025-04-14",
        "gpt-4",
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4-turbo",
    ],
    [
        "gpt-3.5-turbo",
        "gpt-3.5-turbo-instruct",
        "gpt-3.5-turbo-16k",
        "gpt-3.5-turbo-0125",
        "gpt-3.5-turbo-1106",
        "gpt-3.5",
    ],
    ["o1", "o1-mini", "o1-preview", "o1-pro", "o3", "o3-mini", "o4-mini"],
    ["text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"],
    [
        "ft:gpt-4o-2024-08-06:o::a",
        "ft:gpt-4o-2024-08-06:o::A",
        "ft:gpt-4o-2024-08-06:o::a:ckpt-step-1",
        "gpt-4o-2024-08-06",
    ],
    ["gpt-4o-2024-08-06.ft-0a", "gpt-4o-2024-08-06.ft-0b", "gpt-4o-mini-2024-07-18.ft-0a", "ftchkpt-0a", "ftchkpt-0b"],
    ["meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"],
    [
        "Llama-3-8B-Instruct",
        "Llama-3.1-8B-Instruct",
        "Llama-3.3-70B-Instruct",
        "Llama-3.1-70B-Instruct",
        "Llama-3-70B-Instruct",
    ],
    ["llama-3.2-11b-vision-preview", "llama-3.2-11b-text-preview", "llama-3.2-1b-preview", "llama3-1-1b"],
    [
        "meta-llama/Llama-4-Scout-17B-16E",
        "meta-llama/Llama-4-Scout-17B-16E-Instruct",
        "meta-llama/Llama-4-Maverick-17B-128E",
    ],
    [
        "Qwen/Qwen2.5-7B",
        "Qwen/Qwen2.5-7B-Instruct",
        "Qwen/Qwen2.5-Coder-7B",
        "Qwen/Qwen2-7B",
        "Qwen/Qwen2.5-72B-Instruct",
    ],
    ["qwen3-32b", "qwen-32b", "qwen2.5-32b", "qwen3-30b-a3b", "qwen3-235b-a22b", "qwen3-235b-a22b-2507"],
    ["deepseek-r1", "deepseek-r1-0528", "deepseek-r1:7b", "deepseek-r1:8b", "deepseek-r1-zero", "deepseek-r1-turbo"],
    [
        "deepseek-v3",
        "deepseek.v3-v1:0",
        "deepseek-v3-0324",
        "deepseek-v3-base",
        "deepseek-v3.1-terminus",
        "deepseek-chat",
    ],
    [
        "claude-3-5-sonnet-20240620",
        "claude-3-5-sonnet-20241022",
        "claude-3-5-sonnet-v2",
        "claude-3-sonnet",
        "claude-sonnet-4-5",
    ],
    ["claude-opus-4", "claude-opus-4-1", "claude-opus-4.6-fast", "claude-opus-4.6", "claude-opus-latest"],
    ["amazon.titan-embed-text-v1", "amazon.titan-embed-text-v2:0"],
    ["gemma-2-9b", "gemma-2-9b-it", "gemma-3-27b-it", "gemma-3-27b-it-qat"],
    ["whisper-large-v3", "whisper-large-v3-turbo", "whisper-1"],
    ["grok-4", "grok-4-fast", "grok-4.1-fast", "grok-4-0709"],
    ["glm-5", "glm-5-turbo", "glm-5.1", "glm-5.3-flash", "glm-5.3-flashx"],
    ["accounts/me/models/x", "accounts/you/models/x", "accounts/fireworks/models/x", "me/x"],
    ["/runs/1/checkpoint-500", "/runs/2/checkpoint-500", "/a/model.gguf", "/b/model.gguf", "model.gguf"],
    ["someone/Llama-3.1-8B-Instruct", "another/Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct"],
    ["mistral-7b-instruct-v0.1", "mistral-7b-instruct-v0.2", "Mistral-7B-v0.1", "mistral-7b-instruct"],
]


@pytest.mark.parametrize("names", DIFFERENT, ids=lambda names: names[0])
def test_different_models_have_different_keys(names: list[str]) -> None:
    assert len({parse_model_name(name).key for name in names}) == len(names)


def test_the_base_of_a_fine_tune_is_the_model_that_was_trained() -> None:
    tuned = parse_model_name("ft:gpt-3.5-turbo-0125:acme::x:ckpt-step-3")
    assert tuned.is_tuned
    assert tuned.base == parse_model_name("gpt-35-turbo", version="0125")
    assert not tuned.base.is_tuned


@pytest.mark.parametrize(
    "model",
    [
        ModelName(None, "a"),
        ModelName("a/b", "c/d", "e@f", "g#h:1", 2),
        ModelName("v:1", "x:2", "1:3", "j", 0),
        ModelName(None, "50%41", None, "a%3a"),
    ],
)
def test_a_key_is_read_back_whatever_characters_a_name_has(model: ModelName) -> None:
    assert ModelName.of_key(model.key) == model


@pytest.mark.parametrize("text", ["", "a@", "@b", "a#", "a#b:", "a/", "a#b:c"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        ModelName.of_key(text)


@pytest.mark.parametrize(
    "name",
    ["", " ", "/", "//", ":", "@", "#", "ft:", "ft::::", ".gguf", "-", "a/", "~", "~/", "-fp8", "@cf/", "x:latest"],
)
def test_no_name_is_an_error(name: str) -> None:
    model = parse_model_name(name)
    assert ModelName.of_key(model.key) == model

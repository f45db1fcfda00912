"""How services spell a model, and which name may have been meant."""

from __future__ import annotations

import pytest

from luthier.model_names import (
    ModelName,
    azure_format,
    near_names,
    parse_model_name,
    parse_tuned_name,
    printed,
    served_as,
)
from luthier.model_names.spellings import LISTED
from tests.model_names.test_names_of_models import KEYS

PROVIDERS = [*LISTED, "openai", "vllm", "no-such-host"]
MODELS = sorted({parse_model_name(name) for names in KEYS.values() for name in names}, key=lambda model: model.key)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_is_printed_is_read_back_as_the_same_model(provider: str) -> None:
    for model in MODELS:
        name = printed(model, provider)
        assert name is None or parse_model_name(name) == model


@pytest.mark.parametrize("provider", LISTED)
def test_every_listed_name_is_what_its_service_writes(provider: str) -> None:
    names = LISTED[provider].split()
    assert [printed(parse_model_name(name), provider) for name in names] == names
    assert all(parse_model_name(name).vendor for name in names)


@pytest.mark.parametrize(
    ("name", "provider", "spelled"),
    [
        ("gpt-3.5-turbo-0125", "azure", "gpt-35-turbo-0125"),
        ("gpt-35-turbo", "openai", "gpt-3.5-turbo"),
        ("gpt-4.1-mini-2025-04-14", "azure", "gpt-4.1-mini-2025-04-14"),
        ("chatgpt-4o-latest", "openai", "chatgpt-4o-latest"),
        ("gpt-4-1106-preview", "openai", "gpt-4-1106-preview"),
        ("gpt-oss:20b", "openai", None),
        ("gpt-oss:20b", "azure", "gpt-oss-20b"),
        ("llama3.3:70b-instruct-q4_K_M", "azure", "Llama-3.3-70B-Instruct"),
        ("llama3.3:70b-instruct-q4_K_M", "together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        ("llama3.3:70b-instruct-q4_K_M", "cerebras", "llama-3.3-70b"),
        ("llama3.3:70b-instruct-q4_K_M", "vllm", "meta-llama/Llama-3.3-70B-Instruct"),
        ("Qwen2.5-7B-Instruct-Q4_K_M.gguf", "ollama", "qwen2.5:7b"),
        ("claude-3-5-sonnet@20241022", "bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("claude-3-5-sonnet@20241022", "openai", None),
        ("ft:gpt-4o-mini-2024-07-18:o::x", "openai", None),
        ("our-stars", "openai", None),
        ("gpt-4o", "no-such-host", None),
    ],
)
def test_a_model_is_spelled_as_its_service_does(name: str, provider: str, spelled: str | None) -> None:
    assert printed(parse_model_name(name), provider) == spelled


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gpt-4.1-mini-2025-04-14.ft-0123", "OpenAI"),
        ("gpt-oss-20b.ft-0123", "Microsoft"),
        ("Qwen-32B.ft-0123", "Alibaba"),
        ("Ministral-3B.ft-0123", "Mistral AI"),
        ("Llama-3.3-70B-Instruct", "Meta"),
        ("DeepSeek-R1", "DeepSeek"),
        ("Cohere-command-a", "Cohere"),
        ("grok-3", "xAI"),
        ("Phi-4", "Microsoft"),
        ("our-stars", "OpenAI"),
    ],
)
def test_azure_has_a_format_for_each_vendor(name: str, kind: str) -> None:
    assert azure_format(parse_model_name(name)) == kind


def test_the_result_of_a_job_is_known_by_the_job_where_its_name_does_not_tell() -> None:
    base = "gpt-4.1-mini-2025-04-14"
    assert parse_tuned_name(f"ft:{base}:o:s:abc", base=base, job="ftjob-1").key == "openai/gpt-4.1-mini@2025-04-14#abc"
    assert parse_tuned_name("ftchkpt-0a1b", base=base, job="ftjob-1", checkpoint=9).job == "0a1b"
    ours = parse_tuned_name("me/llama-stars", base="meta-llama/Meta-Llama-3.1-8B-Instruct", job="ft-1", checkpoint=9)
    assert ours == ModelName("meta", "llama-3.1-8b-instruct", None, "ft-1", 9)


def test_precision_and_service_are_told_apart_from_the_key() -> None:
    names = [
        "llama-3.3-70b-instruct",
        "llama-3.3-70b-instruct:free",
        "Llama-3.3-70B-Instruct-Turbo",
        "llama3.3:70b-instruct-q4_K_M",
    ]
    assert len({parse_model_name(name) for name in names}) == 1
    assert [served_as(name) for name in names] == ["", ":free", "-turbo", "-q4_k_m"]


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("gpt-4.1-mnii", "gpt-4.1-mini"),
        ("gpt41mini", "gpt-4.1-mini"),
        ("gpt-35-turbo", "gpt-3.5-turbo"),
        ("llama-v3p3-70b-instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("Llama 3.3 70B instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("qwen2.5 7b", "Qwen/Qwen2.5-7B-Instruct"),
    ],
)
def test_the_likest_known_name_is_offered_first(name: str, first: str) -> None:
    known = ["gpt-4.1", "gpt-4.1-mini", "gpt-3.5-turbo", "meta-llama/Llama-3.3-70B-Instruct", "o4-mini"]
    known += ["Qwen/Qwen1.5-7B", "Qwen/Qwen2.5-7B-Instruct"]
    assert near_names(name, known)[0] == first


def test_nothing_is_offered_for_a_name_unlike_any() -> None:
    assert near_names("our-stars", ["gpt-4.1", "o4-mini"]) == []
    assert near_names("gpt-4.1", ["gpt-4.1"]) == []
    assert near_names("gpt-4.1-mni", ["gpt-4.1-mini", "openai/gpt-4.1-mini"]) == ["gpt-4.1-mini"], "each model once"
    assert len(near_names("gpt-4", [f"gpt-4.{n}" for n in range(9)], most=2)) == 2

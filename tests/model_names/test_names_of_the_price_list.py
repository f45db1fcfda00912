"""Every name of the price list: 47 providers that spell each other's models."""

from __future__ import annotations

import re
from collections import defaultdict

from genai_prices.data_snapshot import get_snapshot

from luthier.model_names import ModelName, parse_model_name

NAMES = sorted({(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models})

SIZE = re.compile(r"(?<![\d.a-z])(\d+(?:\.\d+)?)b(?![a-z])")
KIND = re.compile(
    r"\bmini\b|nano|lite|flash|pro|max|plus|small|large|medium|coder|vision|audio|thinking|reasoning|embed|guard|base|distill"
)


def test_every_name_is_parsed_and_its_key_is_read_back() -> None:
    assert len(NAMES) > 2000
    for _, name in NAMES:
        model = parse_model_name(name)
        assert ModelName.of_key(model.key) == model


def test_a_key_is_a_name_of_its_own_model() -> None:
    for _, name in NAMES:
        model = parse_model_name(name)
        if model.vendor is not None and "/" not in model.vendor and ":" not in model.family:
            spelled = f"{model.vendor}/{model.family}" + (f"-{model.snapshot}" if model.snapshot else "")
            assert parse_model_name(spelled) == model, name


def test_no_two_sizes_or_kinds_of_a_model_share_a_key() -> None:
    spelled: dict[str, set[str]] = defaultdict(set)
    for _, name in NAMES:
        # Together serves some models in a precision that it calls Lite.
        spelled[parse_model_name(name).key].add(name.lower().replace("-instruct-lite", "-instruct").rpartition("/")[2])
    for key, names in spelled.items():
        assert len({frozenset(KIND.findall(name)) for name in names}) == 1, (key, names)
        assert len({tuple(SIZE.findall(name)) for name in names if SIZE.search(name)}) <= 1, (key, names)


def test_one_model_has_one_key_at_all_its_providers() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for provider, name in NAMES:
        places[parse_model_name(name).key].add(provider)
    assert len(places["meta/llama-3.3-70b-instruct"]) >= 15
    assert len(places["meta/llama-3.1-8b-instruct"]) >= 10
    assert len(places["openai/gpt-oss-120b"]) >= 15
    assert {"openai", "openrouter", "github-copilot"} <= places["openai/gpt-4o-mini"]
    assert {"anthropic", "openrouter", "aws", "google"} <= places["anthropic/claude-opus-4.6"]
    assert {"fireworks", "openrouter", "huggingface_nebius"} <= places["deepseek/deepseek-v3@0324"]

"""What an endpoint refuses when it is written down."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.endpoints import Endpoint, compatible
from luthier.errors import EndpointError

KEY = "sk-planted-5a01bc77"


def with_extra(**extra: Any) -> Endpoint:
    return compatible("m", "http://h/v1", extra_body=extra)


@pytest.mark.parametrize(
    "name",
    [
        "messages",
        "prompt",
        "model",
        "n",
        "best_of",
        "stream",
        "logprobs",
        "top_logprobs",
        "max_tokens",
        "temperature",
    ],
)
def test_extra_fields_cannot_replace_what_a_request_carries(name: str) -> None:
    with pytest.raises(EndpointError, match=rf"extra_body.*{name}.*`decoding:`"):
        with_extra(**{name: 1})


@pytest.mark.parametrize("most", ["2000", 0, True, None])
def test_the_bound_of_a_gateway_is_a_number(most: object) -> None:
    with pytest.raises(EndpointError, match="whole number"):
        with_extra(max_completion_tokens=most)


@pytest.mark.parametrize(
    "extra",
    [
        {"api_key": "hunter22"},
        {"headers": {"Authorization": "hunter22"}},
        {"x": KEY},
        {"x": [{"y": f"Bearer {KEY}"}]},
        {KEY: 1},
    ],
)
def test_a_key_among_the_extra_fields_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(EndpointError, match="api_key_env: MY_KEY"):
        with_extra(**extra)


def test_a_refused_key_is_not_shown() -> None:
    with pytest.raises(EndpointError) as raised:
        with_extra(user=KEY)
    assert KEY not in str(raised.value)


def test_a_key_given_for_a_variable_is_not_shown() -> None:
    with pytest.raises(EndpointError) as raised:
        compatible("m", "http://h/v1", api_key_env=KEY)
    assert KEY not in str(raised.value)


def test_a_fragment_is_no_part_of_an_address() -> None:
    with pytest.raises(EndpointError, match="holds a fragment"):
        compatible("m", "http://h/v1#part")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"base_url": "nope"}, "starts with http://"),
        ({"base_url": "http://h:99999/v1"}, "write it as http://HOST:PORT/v1"),
        ({"base_url": "http://[::1/v1"}, "write it as http://HOST:PORT/v1"),
        ({"base_url": " http://h/v1"}, "holds a space"),
        ({"base_url": "http://h/v1?api-version=1"}, "holds a query"),
        ({"base_url": "http://h/v1?"}, "holds a query"),
        ({"base_url": "http://h/v1/chat/completions"}, "write base_url: http://h/v1"),
        ({"base_url": "http://h/v1/embeddings/"}, "write base_url: http://h/v1"),
        ({"base_url": "http://h/v1", "temperature": 1}, "temperature: unknown key; allowed here: api_key_env"),
        ({"base_url": "http://h/v1", "limits": {"concurrency": 0}}, "limits.concurrency"),
        ({"base_url": "http://h/v1", "price": {"input": 1}}, "price.input_usd_per_million: is missing"),
        ({"base_url": "http://h/v1", "timeout_seconds": "sk-hunter22-hunter22"}, "given: '[key]'"),
    ],
)
def test_a_wrong_setting_in_python_is_an_error_of_ours(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(EndpointError) as told:
        compatible("m", **settings)
    assert words in str(told.value)
    assert isinstance(told.value, ValueError), "what pydantic would have raised"

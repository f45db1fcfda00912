from __future__ import annotations

import pytest

from luthier.endpoints import Budget, Endpoint, Price, Request, Usage, azure, compatible, embedded, openai
from luthier.errors import UserError
from luthier.providers.prices import PriceBook, price_needed
from luthier.providers.tokens import TokenGuess, request_units, text_units
from tests.questions import question

MILLION = Usage(input_tokens=100_000, output_tokens=100_000)
HERE = "http://127.0.0.1:1/v1"
AZURE = "https://r.openai.azure.com"


@pytest.mark.parametrize(
    ("endpoint", "usd"),
    [
        (openai("gpt-4o-mini"), 0.075),
        (openai("ft:gpt-4o-mini-2024-07-18:org:stars:abc"), 0.15),
        (openai("no-such-model"), None),
        (openai("no-such-model", priced_as="gpt-4o-mini"), 0.075),
        (azure("whatever", "https://r.openai.azure.com"), None),
        (azure("gpt-4.1-mini-2025-04-14.ft-0123abcd-stars", "https://r.openai.azure.com"), 0.2),
        (compatible("gpt-4o-mini", HERE), None),
        (compatible("q", HERE, priced_as="gpt-4o-mini"), 0.075),
        (compatible("q", HERE, priced_as="text-embedding-3-small"), 0.002),
        (compatible("q", HERE, priced_as="groq/llama-3.3-70b-versatile"), 0.138),
        (compatible("q", HERE, priced_as="llama-3.3-70b-versatile"), 0.138),
        (compatible("q", HERE, priced_as="no-such-model"), None),
        (compatible("q", HERE, priced_as="groq/no-such-model"), None),
        (compatible("llama-3.3-70b-versatile", "https://api.groq.com/openai/v1"), 0.138),
        (compatible("q", HERE, price=Price(input_usd_per_million=0, output_usd_per_million=0)), 0.0),
        (compatible("q", HERE, price=Price(input_usd_per_million=1, output_usd_per_million=2)), 0.3),
        (embedded(), 0.0),
    ],
)
def test_cost(endpoint: Endpoint, usd: float | None) -> None:
    cost = PriceBook().cost(endpoint, MILLION)
    assert cost == (None if usd is None else pytest.approx(usd))
    assert PriceBook().known(endpoint) == (usd is not None)


def test_a_model_that_providers_charge_differently_for_needs_the_name_of_one() -> None:
    name = "meta-llama/Llama-3.3-70B-Instruct"
    anywhere, somewhere = (compatible("q", HERE, priced_as=said) for said in (name, f"huggingface_groq/{name}"))
    assert PriceBook().cost(anywhere, MILLION) is None
    assert f"huggingface_groq/{name}" in str(price_needed(anywhere))
    assert PriceBook().cost(somewhere, MILLION) == pytest.approx(0.138)


def test_a_priced_as_that_is_not_listed_is_named() -> None:
    assert "no-such-model" in str(price_needed(compatible("q", HERE, priced_as="no-such-model")))


def test_what_a_deployment_says_it_is_gives_its_price() -> None:
    deployment = azure("whatever", "https://r.openai.azure.com")
    assert PriceBook().cost(deployment, MILLION, "gpt-4o-mini-2024-07-18") == pytest.approx(0.075)


def test_cached_input_is_cheaper() -> None:
    book = PriceBook()
    fresh, cached = Usage(1000, 0, 0), Usage(1000, 0, 1000)
    assert book.cost(openai("gpt-4o-mini"), cached) == pytest.approx(0.000075)
    own = compatible(
        "q", HERE, price=Price(input_usd_per_million=1, output_usd_per_million=1, cached_input_usd_per_million=0.1)
    )
    assert book.cost(own, fresh) == pytest.approx(0.001)
    assert book.cost(own, cached) == pytest.approx(0.0001)


def test_long_contexts_cost_their_tier() -> None:
    book = PriceBook()
    short = book.cost(openai("gpt-5.4"), Usage(200_000, 0))
    long = book.cost(openai("gpt-5.4"), Usage(400_000, 0))
    assert short is not None
    assert long is not None
    assert long > 2.5 * short


@pytest.mark.parametrize(
    ("endpoint", "same"),
    [
        (openai("ft:gpt-4.1-mini-2025-04-14:org::x:ckpt-step-3"), openai("gpt-4.1-mini")),
        (azure("gpt-4.1-mini-2025-04-14.ft-0a1b-stars", AZURE), azure("gpt-4.1-mini", AZURE)),
        (azure("gpt-35-turbo-0125", AZURE), azure("gpt-3.5-turbo-0125", AZURE)),
        (azure("gpt-35-turbo-0125.ft-0a1b", AZURE), azure("gpt-3.5-turbo-0125", AZURE)),
        (azure("prod", AZURE, priced_as="gpt-35-turbo-0125"), azure("gpt-3.5-turbo-0125", AZURE)),
        (
            compatible("llama3.3-70b", "https://api.cerebras.ai/v1"),
            compatible("llama-3.3-70b", "https://api.cerebras.ai/v1"),
        ),
        (
            Endpoint(provider="fireworks", model="accounts/fireworks/models/llama-v3p1-8b-instruct"),
            compatible("accounts/fireworks/models/llama-v3p1-8b-instruct", "https://api.fireworks.ai/inference/v1"),
        ),
        (
            Endpoint(provider="together", model="meta-llama/Llama-3.3-70B-Instruct-Turbo"),
            compatible("meta-llama/Meta-Llama-3.3-70B-Instruct-Turbo", "https://api.together.xyz/v1"),
        ),
    ],
)
def test_a_model_costs_the_same_under_each_of_its_names(endpoint: Endpoint, same: Endpoint) -> None:
    book = PriceBook()
    assert book.known(same)
    assert book.cost(endpoint, MILLION) == pytest.approx(book.cost(same, MILLION))


@pytest.mark.parametrize(
    "endpoint",
    [
        # Together lists other precisions of it, which cost something else.
        Endpoint(provider="together", model="meta-llama/Meta-Llama-3-70B-Instruct"),
        Endpoint(provider="fireworks", model="accounts/me/models/llama-v3p1-8b-instruct"),
        azure("prod", AZURE),
        compatible("qwen/no-such-model-1b:free", "https://openrouter.ai/api/v1"),
    ],
)
def test_a_price_is_unknown_where_the_name_does_not_tell_the_whole(endpoint: Endpoint) -> None:
    assert not PriceBook().known(endpoint)


def test_a_guess_learns_from_what_was_counted() -> None:
    guess = TokenGuess()
    asked = question("word " * 80)
    first = guess.tokens_of(request_units(asked))
    assert 80 < first < 150
    for _ in range(100):
        guess.learn(request_units(asked), Usage(input_tokens=200, output_tokens=1))
    assert guess.tokens_of(request_units(asked)) == pytest.approx(200, rel=0.1)
    assert guess.at_most(request_units(asked)) == pytest.approx(200)
    assert guess.largest_output(asked) == 3
    assert guess.likely_output(asked) < 1.2


def test_scripts_weigh_differently() -> None:
    assert text_units("a" * 40) / 4 == 10
    assert text_units("語" * 10) / 4 == 10
    assert 10 < text_units("é" * 40) / 4 < 40
    assert text_units("\ud800") > 0, "a lone surrogate is no reason to fail"


def test_bounds_of_answers() -> None:
    guess = TokenGuess()
    assert guess.largest_output(Request("chat", {"messages": []})) is None
    assert guess.largest_output(Request("completion", {"prompt": "x"})) == 16
    assert guess.largest_output(Request("chat", {"messages": [], "max_tokens": 5, "n": 3})) == 15


def test_a_budget_is_an_amount() -> None:
    with pytest.raises(UserError, match="US dollars"):
        Budget(-1)
    with pytest.raises(UserError, match="US dollars"):
        Budget(float("nan"))


def test_a_gateway_s_bound_replaces_that_of_a_chat() -> None:
    gateway = compatible("q", HERE, extra_body={"max_completion_tokens": 2000})
    assert TokenGuess().largest_output(question("x"), gateway) == 2000
    assert TokenGuess().likely_output(question("x"), gateway) == 2000


def test_a_gateway_s_bound_leaves_a_completion_alone() -> None:
    gateway = compatible("q", HERE, extra_body={"max_completion_tokens": 2000})
    assert TokenGuess().largest_output(Request("completion", {"prompt": "x", "max_tokens": 3}), gateway) == 3


OWN = {"input_usd_per_million": 1, "output_usd_per_million": 2}


@pytest.mark.parametrize(
    ("endpoint", "share"),
    [
        (openai("gpt-4o-mini"), 0.5),
        (openai("text-embedding-3-small"), 0.5),
        (openai("ours", price=Price(**OWN)), 0.5),
        (azure("whatever", "https://r.openai.azure.com", priced_as="gpt-4o-mini"), 0.5),
        (compatible("q", HERE, price=Price(**OWN)), 1.0),
        (compatible("q", HERE, price=Price(**OWN, batch_share=0.4)), 0.4),
        (openai("no-such-model"), 1.0),
        (embedded(), 1.0),
    ],
)
def test_a_batch_costs_a_part_of_the_live_price(endpoint: Endpoint, share: float) -> None:
    assert PriceBook().batch_share(endpoint) == pytest.approx(share)

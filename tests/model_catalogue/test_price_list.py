"""The price list's table is what the installed package says."""

from __future__ import annotations

import json
from datetime import date
from importlib import metadata

import pytest

from luthier.model_catalogue.price_list import TABLE, price_list, table_of


def test_the_table_holds_what_the_installed_package_says() -> None:
    kept = json.loads(TABLE.read_text(encoding="utf-8"))
    made = table_of(metadata.version("genai-prices"), date.fromisoformat(kept["seen"]))
    assert json.loads(json.dumps(made)) == kept, "run: python -m luthier.model_catalogue.price_list DAY-OF-THE-RELEASE"


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-4.1-mini"), ("fireworks", "gpt-oss-120b")])
def test_prices_of_the_table_are_those_of_the_package_today(provider: str, model: str) -> None:
    import genai_prices

    (entry,) = [one for one in price_list().models if (one.provider, one.id) == (provider, model)]
    usage = genai_prices.Usage(input_tokens=1_000, output_tokens=1_000)
    priced = genai_prices.calc_price(usage, model_ref=entry.names[0] if entry.names else model, provider_id=provider)
    assert float(priced.total_price) == pytest.approx((entry.prices["input"] + entry.prices["output"]) / 1_000)

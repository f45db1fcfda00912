"""The same specs on real services, a few cents at most: `scripts/test -m live` with keys in the environment."""

from __future__ import annotations

import os

import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from tests.conftest import reviews

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("store")]


@pytest.fixture(params=["openai", "openai-reasoning", "azure"])
def asked(request: pytest.FixtureRequest) -> tuple[Endpoint, str, dict[str, object]]:
    """Endpoint, answer method and decoding; skipped where its key is absent."""
    service = str(request.param)
    if service == "azure":
        if not all(os.environ.get(name) for name in ("AZURE_OPENAI_API_KEY", "AZURE_RESOURCE_URL", "AZURE_DEPLOYMENT")):
            pytest.skip("set AZURE_OPENAI_API_KEY, AZURE_RESOURCE_URL and AZURE_DEPLOYMENT")
        azure = lt.azure(os.environ["AZURE_DEPLOYMENT"], os.environ["AZURE_RESOURCE_URL"], priced_as="gpt-4.1-mini")
        return azure, "score", {}
    if not os.environ.get("OPENAI_API_KEY"):
        pytest.skip("set OPENAI_API_KEY")
    if service == "openai":
        return lt.openai("gpt-4.1-mini"), "score", {}
    return lt.openai("gpt-5-mini"), "text", {"temperature": None, "max_tokens": 2000}


@pytest.fixture
def spec(task: lt.Task, asked: tuple[Endpoint, str, dict[str, object]]) -> lt.Prompt:
    endpoint, method, decoding = asked
    return lt.Prompt(
        task, "Rate from 1 to 5.\n{{ text }}\nStars:", endpoint=endpoint, answer=method, decoding=decoding, name="live"
    )


def test_check_finds_nothing_wrong(spec: lt.Prompt) -> None:
    assert lt.check(spec).ok, str(lt.check(spec))


def test_obvious_reviews_are_rated_right(spec: lt.Prompt) -> None:
    board = lt.compare(spec, reviews(20), budget_usd=0.25)
    assert board.frame["within_1"][0] > 0.9
    assert board.frame["cost_per_1000_rows_usd"][0] > 0

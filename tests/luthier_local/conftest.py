"""A running server and the real clients that ask it."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from luthier_local import LocalServer, ModelCard

CARDS = [
    ModelCard("stars", embeddings=True),
    ModelCard("thinker", reasoning=True),
    ModelCard("no-logprobs", logprobs=False),
    ModelCard("old-server", ignores_logprobs=True, logprobs=False),
    ModelCard("chat-only", completions=False),
    ModelCard("other-weights", salt="other"),
    ModelCard("deployment", reports_model="gpt-4.1-mini-2025-04-14"),
    ModelCard("small", context_tokens=64),
]


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(models=CARDS, record=True) as running:
        yield running


@pytest.fixture
def client(server: LocalServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0) as opened:
        yield opened

"""Engines for the endpoint tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from luthier.endpoints import Engine, Journal


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine with the journal in memory and short waits between attempts."""
    made = Engine(Journal.in_memory(), backoff_seconds=0.02, longest_backoff_seconds=0.1)
    yield made
    made.close()

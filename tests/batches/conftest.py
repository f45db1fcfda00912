"""An engine whose journal outlives it, as batches need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from luthier.endpoints import Engine, Journal


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine with the journal on disk."""
    made = Engine(Journal.from_environment(), backoff_seconds=0.02, longest_backoff_seconds=0.1)
    yield made
    made.close()

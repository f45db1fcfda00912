"""What a comparison still lacks can be asked by other means; then it sends nothing itself."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine, Request, RunOptions
from luthier.experiments.compare import ComparisonSetup
from luthier.experiments.lacking import lacking_requests
from luthier_local import LocalServer, ModelCard
from tests.memory_tracker import MemoryTracker

pytestmark = pytest.mark.usefixtures("tracker")


def test_once_all_that_lacks_is_answered_a_comparison_sends_nothing(
    task: lt.Task,
    endpoint: Endpoint,
    engine: Engine,
    server: LocalServer,
    table: pd.DataFrame,
    train: pd.DataFrame,
    tracker: MemoryTracker,
) -> None:
    server.put_model(ModelCard("vectors", chat=False, completions=False, embeddings=True))
    specs = [
        lt.Baseline(task, name="baseline"),
        lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero"),
        lt.Embedding(task, endpoint=endpoint.model_copy(update={"model": "vectors"}), name="embedding"),
    ]
    setup = ComparisonSetup(specs, {"few": table.head(8)}, train.head(30))
    options = RunOptions(engine=engine)

    def lacking() -> list[tuple[Request, Endpoint]]:
        rows = [each.rows for each in setup.tables]
        return list(lacking_requests(setup.specs, rows, setup.training, options, tracker))

    rounds = 0
    while missing := lacking():
        rounds += 1
        for request, where in missing:
            engine.run([request], where)
    # An embedding is fitted first; its rows follow.
    assert rounds == 2
    sent = server.received.total
    board = setup.run(replace(options, journal_only=True))
    assert server.received.total == sent
    assert not board.unanswered
    assert set(board.frame["name"]) == {"baseline", "zero", "embedding"}

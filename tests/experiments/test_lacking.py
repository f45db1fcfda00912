"""What a comparison still lacks can be asked by other means; then it sends nothing itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine, Journal, Request, RunOptions
from luthier.errors import Partial, UserError
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


def test_a_comparison_by_batch_measures_as_a_live_one_does(
    task: lt.Task, endpoint: Endpoint, table: pd.DataFrame, tmp_path: Path
) -> None:
    engine = Engine(Journal(tmp_path / "journal.db"))
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
    with pytest.raises(Partial, match="same command"):
        lt.compare(spec, table.head(8), engine=engine, mode="batch", wait=False)
    batched = lt.compare(spec, table.head(8), engine=engine, mode="batch")
    engine.close()
    live = lt.compare(spec, table.head(8))
    assert batched.frame["qwk"].tolist() == live.frame["qwk"].tolist()
    assert not batched.partial
    assert "latency_p50_seconds" not in batched.frame


def test_a_mode_of_comparing_that_is_none_is_named(task: lt.Task, endpoint: Endpoint, table: pd.DataFrame) -> None:
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
    with pytest.raises(UserError, match="live or batch"):
        lt.compare(spec, table.head(8), mode="spark")  # type: ignore[arg-type]

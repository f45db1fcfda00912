"""score by the Batch API: the table of a live score, for the price of batches, from one process or from several."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Engine, Journal
from luthier.errors import Partial, UserError
from luthier_local import LocalServer

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(Journal(tmp_path / "journal.db"))


def test_batches_give_the_table_of_a_live_score(
    model: lt.Model, table: pd.DataFrame, engine: Engine, standing_server: LocalServer
) -> None:
    rows = table.head(12).copy()
    rows.loc[3, "text"] = None
    rows.to_csv("in.csv", index=False)
    live = model.score(rows)
    report = model.score_file("in.csv", "out.csv", engine=engine, mode="batch")
    out = lt.read_table("out.csv")
    assert out["label"].fillna("").tolist() == live["label"].fillna("").tolist()
    assert (report.states["ok"], report.states["empty"]) == (11, 1)
    assert report.spent_usd
    # Equal rows are paid once, and so counted once.
    assert report.spent_usd == pytest.approx(engine.report.spent_usd)
    assert report.from_journal == 11 - table.head(12)["text"].drop(3).nunique()
    engine.close()


def test_what_an_earlier_process_collected_is_not_spent_again(
    model: lt.Model, table: pd.DataFrame, engine: Engine
) -> None:
    table.head(6).to_csv("in.csv", index=False)
    model.score_file("in.csv", "out.csv", engine=engine, mode="batch")
    again = model.score_file("in.csv", "out.csv", engine=engine, mode="batch")
    assert (again.spent_usd, again.from_journal) == (0.0, 6)
    engine.close()


def test_without_waiting_the_same_call_goes_on_later(
    model: lt.Model, table: pd.DataFrame, engine: Engine, tmp_path: Path
) -> None:
    table.head(12).to_csv("in.csv", index=False)
    with pytest.raises(Partial, match="same command"):
        model.score_file("in.csv", "out.csv", engine=engine, mode="batch", wait=False)
    assert not Path("out.csv").exists()
    engine.close()
    another = Engine(Journal(tmp_path / "journal.db"))
    report = model.score_file("in.csv", "out.csv", engine=another, mode="batch")
    assert report.rows == 12
    another.close()


def test_what_the_journal_has_is_not_asked_again_by_batch(model: lt.Model, engine: Engine) -> None:
    pd.DataFrame({"text": ["soup"]}).to_csv("in.csv", index=False)
    with pytest.raises(UserError, match="--retry-failed"):
        model.score_file("in.csv", "out.csv", engine=engine, mode="batch", retry_failed=True)


def test_a_mode_that_is_none_is_named(model: lt.Model) -> None:
    with pytest.raises(UserError, match="live, batch"):
        model.score_file("in.csv", "out.csv", mode="btach")  # type: ignore[arg-type]

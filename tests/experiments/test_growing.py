"""A comparison is shown while it grows: the cheapest specs first, nothing claimed before all are measured."""

from __future__ import annotations

import io
import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import luthier as lt
from luthier.endpoints import Endpoint
from luthier.engine.progress import TerminalProgress
from luthier.errors import EndpointError
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.ranking import build_leaderboard
from luthier.experiments.compare import ComparisonSetup
from luthier.reporting.board_report import board_page, board_sections
from luthier.reporting.board_sentences import sentences
from luthier.reporting.html import fragment, page_text
from luthier.reporting.live import LiveBoard
from luthier.reporting.terminal import show
from luthier.tasks.task import Rows
from luthier_local import Fault, LocalServer
from tests.conftest import REPOSITORY
from tests.evaluation.answering import candidate, simulated
from tests.evaluation.answering import table as labelled
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("tracker")

REFUSES = "A text the server cannot take"
"""Stands in the prompt of the last spec alone."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def specs(task: lt.Task, endpoint: Endpoint) -> list[lt.Spec]:
    few = lt.Prompt(task, f"{REFUSES}: {{{{ text }}}}", answer="score", examples=4, endpoint=endpoint, name="few")
    zero = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
    return [few, zero, lt.Baseline(task, name="baseline")]


@pytest.fixture
def refusing(server: LocalServer) -> LocalServer:
    """Refuses the key of the last spec to be asked."""
    server.faults.add(Fault("status", status=401, message="no such key", contains=REFUSES))
    return server


@pytest.mark.slow
def test_specs_that_ask_nobody_come_first_then_those_with_the_least_to_ask(
    specs: list[lt.Spec], table: pd.DataFrame, train: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    board = lt.compare(specs, table, train=train)
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if "are measured" in line]
    assert [line.split(":")[0] for line in lines] == ["baseline", "zero"]
    assert [line[-27:] for line in lines] == ["(1 of 3 specs are measured)", "(2 of 3 specs are measured)"]
    assert f"QWK {board.frame.set_index('name')['qwk']['zero']:.2f}".replace("0.", ".") in lines[1]
    assert out == "", "standard output is for the leaderboard, or for JSON"


@pytest.mark.slow
def test_a_terminal_shows_the_board_in_place_and_is_cleared_for_the_complete_one(
    specs: list[lt.Spec], table: pd.DataFrame, train: pd.DataFrame
) -> None:
    stream = Terminal()
    with LiveBoard(stream) as live:
        ComparisonSetup(specs, {"the test table": table}, train).run(live=live)
        grown = stream.getvalue()
    assert "stars: 1 of 3 specs on 60 rows" in grown
    assert "stars: 2 of 3 specs on 60 rows" in grown
    assert "Still to come: few." in " ".join(grown.split())
    assert "\x1b[2K" in stream.getvalue()[len(grown) :], "the lines are erased"


@pytest.mark.usefixtures("store")
def test_what_is_measured_stays_on_the_terminal_and_on_the_page_where_the_rest_fails(
    specs: list[lt.Spec], table: pd.DataFrame, train: pd.DataFrame, refusing: LocalServer, tmp_path: Path
) -> None:
    stream = Terminal()
    with pytest.raises(EndpointError), LiveBoard(stream) as live:
        ComparisonSetup(specs, {"the test table": table}, train).run(live=live)
    assert "stars: 2 of 3 specs" in stream.getvalue()[-3000:]
    experiment = mlflow.get_experiment_by_name("stars")
    runs = mlflow.search_runs([experiment.experiment_id])
    [parent] = runs[runs["tags.luthier.kind"] == "compare"].to_dict("records")
    assert parent["tags.luthier.partial"] == "true"
    assert "2 of 3 specs are measured" in parent["tags.mlflow.note.content"]
    page = Path(mlflow.artifacts.download_artifacts(run_id=parent["run_id"], artifact_path="report.html"))
    assert "2 of 3 specs are measured" in page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("store")
def test_a_key_that_is_refused_leaves_no_run_though_the_baseline_is_measured(
    specs: list[lt.Spec],
    table: pd.DataFrame,
    train: pd.DataFrame,
    refusing: LocalServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(EndpointError):
        lt.compare([specs[0], specs[2]], table, train=train)
    assert "baseline: QWK" in capsys.readouterr().err
    assert mlflow.get_experiment_by_name("stars") is None


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_the_complete_board_is_as_if_it_had_not_been_shown_before(
    specs: list[lt.Spec], table: pd.DataFrame, train: pd.DataFrame
) -> None:
    shown = lt.compare(specs, table, train=train)
    silent = lt.compare(specs[::-1], table, train=train, progress=TerminalProgress(silent=True))
    documents = [json.loads(json.dumps(board.leaderboard.to_document())) for board in (shown, silent)]
    for document in documents:
        for entry in document["entries"]:
            entry.pop("from_journal_share")
    assert documents[0] == documents[1]
    assert mlflow.get_run(shown.run_id).data.tags["luthier.partial"] == "false"


@pytest.fixture
def half(task: lt.Task) -> tuple[Leaderboard, Leaderboard, Rows]:
    """Two specs of three, and the three."""
    truth = np.arange(50) % 5
    rows = labelled(task, [task.labels[place] for place in truth])
    candidates = [
        candidate(name, simulated(task, truth, skill, seed))
        for seed, (name, skill) in enumerate((("a", 2.0), ("b", 0.3), ("c", 0.9)))
    ]
    return build_leaderboard(task, rows, candidates[:2], waiting=["c"]), build_leaderboard(task, rows, candidates), rows


def test_before_all_are_measured_no_two_are_compared(half: tuple[Leaderboard, Leaderboard, Rows]) -> None:
    board, whole, rows = half
    assert board.pairs == ()
    assert board.plan is None
    assert {entry.group for entry in board.entries} == {""}
    assert {entry.above_majority for entry in board.entries} == {None}
    assert board.entry("a").metrics == whole.entry("a").metrics, "figures do not hang on the others"
    said = " ".join(sentences(board))
    assert "2 of 3 specs are measured. Still to come: c." in said
    for claim in ("leads", "better", "told apart", "most frequent label"):
        assert claim not in said
    out = io.StringIO()
    show(*board_sections(board), console=Console(file=out, width=120))
    for shown in (out.getvalue(), fragment(*board_sections(board)), page_text(board_page(board, rows))):
        assert "told apart" not in shown
        assert ">tie<" not in shown
    assert " tie" not in out.getvalue()


NOTEBOOK = """
import luthier as lt
from tests.conftest import reviews, stars
from luthier.endpoints import Endpoint

endpoint = Endpoint(provider="compatible", base_url={url!r}, model="stars-model", api_key_env="STARS_KEY")
few = lt.Prompt(stars(), "{refuses}: {{{{ text }}}}", answer="score", examples=4, endpoint=endpoint, name="few")
zero = lt.Prompt(stars(), "Stars for: {{{{ text }}}}", answer="score", endpoint=endpoint, name="zero")
baseline = lt.Baseline(stars(), name="baseline")
board = lt.compare([few, zero, baseline], reviews(60), train=reviews(80, seed=8))
"""


@pytest.mark.slow
def test_a_notebook_has_one_output_that_grows_and_leaves_when_the_board_is_complete(
    refusing: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    fails = NOTEBOOK.format(url=refusing.base_url, refuses=REFUSES)
    works = "board = lt.compare([zero, baseline], reviews(60), train=reviews(80, seed=8))"
    cells = [nbformat.v4.new_code_cell(code) for code in (fails, works)]  # type: ignore[no-untyped-call]
    book = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=PATIENCE_SECONDS, resources=resources, allow_errors=True).execute()
    stopped, complete = (
        [one["data"]["text/html"] for one in cell.outputs if one.output_type == "display_data"] for cell in book.cells
    )
    assert len(stopped) == 1
    assert "2 of 3 specs are measured" in stopped[0]
    assert complete == [""]

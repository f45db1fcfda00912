"""What runs keep as files, read back into records: leaderboards with their answers, audits, scorecards."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError, ModelError
from luthier.evaluation.across import Across
from luthier.evaluation.audits import Audit
from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.evaluation.resampling import record_of
from luthier.evaluation.score_summary import ScoreSummary
from luthier.evaluation.scorecard import Scorecard
from luthier.experiments.answer_tables import read_answers
from luthier.history.runs import LoggedRun, runs_beneath
from luthier.improving.improvement_facts import KEPT, ImprovementFacts
from luthier.judging.judgement_facts import KEPT as JUDGEMENT
from luthier.judging.judgement_facts import JudgementFacts
from luthier.sweeps.study_state import StudyState
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows, Task
from luthier.tasks.types import Measure
from luthier.tracking.runs import SCORE

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "KeptBoard",
    "across_of",
    "answers_of",
    "audit_of",
    "board_of",
    "improvement_of",
    "judgement_of",
    "read_json",
    "score_of",
    "scorecard_of",
    "sweep_of",
]

ANSWERS = "predictions.parquet"


@dataclass(frozen=True)
class KeptBoard:
    """A leaderboard as its run keeps it.

    Attributes:
        board: with the predictions of the specs whose answers were found.
        rows: the test rows; `None` where no run of a spec keeps answers to them.
        without_answers: names of the specs whose answers are not there.
    """

    board: Leaderboard
    rows: Rows | None
    without_answers: tuple[str, ...] = ()


def read_json(run: LoggedRun, name: str) -> dict[str, Any]:
    """A JSON file of a run.

    Raises:
        ModelError: the file is not there: the run was interrupted, or an earlier Luthier did not write one.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        document = json.loads(mlflow.artifacts.load_text(f"runs:/{run.run_id}/{name}"))
    except (MlflowException, OSError) as error:
        raise _missing(run, name) from error
    if not isinstance(document, dict):
        raise DataError(f"{name} of run {run.run_id} is not what Luthier writes there: it holds no JSON object.")
    return document


def board_of(run: LoggedRun) -> KeptBoard:
    """The leaderboard of a comparison on one table, with the rows and the answers that the runs of its specs keep.

    Raises:
        ModelError: the run keeps no leaderboard.
        DataError: its document cannot be read.
    """
    board = Leaderboard.from_document(read_json(run, "leaderboard.json"))
    answers: dict[str, tuple[Prediction, ...]] = {}
    rows: Rows | None = None
    for child in runs_beneath(run):
        if child.kind != "candidate" or child.spec is None or child.spec in answers or ANSWERS not in _files(child):
            continue
        found, predictions = answers_of(child, board.task)
        if found.digest == board.test_digest:
            rows, answers[child.spec] = found, predictions
    entries = tuple(_with_answers(entry, answers) for entry in board.entries)
    missing = tuple(entry.name for entry in entries if not entry.candidate.predictions)
    return KeptBoard(replace(board, entries=entries), rows, missing)


def answers_of(run: LoggedRun, task: Task) -> tuple[Rows, tuple[Prediction, ...]]:
    """The rows that a run answered, and its predictions.

    Raises:
        ModelError: the run keeps no answers.
        DataError: they are no answers of this task.
    """
    return read_answers(task, _table(run))


def across_of(run: LoggedRun, measure: Measure) -> Across:
    """What holds over the tables of a comparison on several.

    Args:
        run: of the whole comparison.
        measure: what its tables are ranked by.

    Raises:
        ModelError: the run does not keep it.
        DataError: its document cannot be read.
    """
    return record_of(Across, {**read_json(run, "across.json"), "measure": measure})


def audit_of(run: LoggedRun) -> Audit:
    """The audit that a run keeps.

    Raises:
        ModelError: the run keeps none.
        DataError: its document cannot be read.
    """
    return record_of(Audit, read_json(run, "audit.json"))


def scorecard_of(run: LoggedRun) -> Scorecard:
    """The scorecard that a run keeps.

    Raises:
        ModelError: the run keeps none.
        DataError: its document cannot be read.
    """
    return record_of(Scorecard, read_json(run, "scorecard.json"))


def score_of(run: LoggedRun) -> ScoreSummary:
    """The summary of a score that a run keeps.

    Raises:
        ModelError: the run keeps none, as those of earlier versions.
        DataError: its document cannot be read.
    """
    return record_of(ScoreSummary, read_json(run, SCORE))


def improvement_of(run: LoggedRun) -> ImprovementFacts:
    """What a search for a better prompt found, as its run keeps it.

    Raises:
        ModelError: the run keeps nothing.
        DataError: its document cannot be read.
    """
    return record_of(ImprovementFacts, read_json(run, KEPT))


def judgement_of(run: LoggedRun) -> JudgementFacts:
    """What a judge found, as its run keeps it.

    Raises:
        ModelError: the run keeps nothing.
        DataError: its document cannot be read.
    """
    return record_of(JudgementFacts, read_json(run, JUDGEMENT))


def _table(run: LoggedRun) -> pd.DataFrame:
    import mlflow
    import pandas as pd
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as scratch:
        try:
            file = mlflow.artifacts.download_artifacts(run_id=run.run_id, artifact_path=ANSWERS, dst_path=scratch)
        except (MlflowException, OSError) as error:
            raise _missing(run, ANSWERS) from error
        return pd.read_parquet(Path(file))


def _files(run: LoggedRun) -> frozenset[str]:
    """Names of the files that a run keeps, without those in folders."""
    import mlflow

    return frozenset(one.path for one in mlflow.MlflowClient().list_artifacts(run.run_id) if not one.is_dir)


def sweep_of(run: LoggedRun) -> StudyState:
    """The sweep that a run keeps since its end.

    Raises:
        ModelError: the run keeps none, because the sweep goes on or was interrupted.
        DataError: its document cannot be read.
    """
    document = read_json(run, "sweep.json")
    try:
        return StudyState.of_document(document)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"sweep.json of run {run.run_id} is not a sweep: {type(error).__name__} {error}.") from error


def _with_answers(entry: Entry, answers: Mapping[str, tuple[Prediction, ...]]) -> Entry:
    return replace(entry, candidate=replace(entry.candidate, predictions=answers.get(entry.name, ())))


def _missing(run: LoggedRun, name: str) -> ModelError:
    return ModelError(
        f"run {run.run_id} ({run.name}, {run.status}) has no {name}: it was interrupted before its end, its files are "
        "not reachable from here, or an earlier Luthier made it."
    )

"""The verb that has answers rated by a judge, and what finds the answers."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from luthier.api.arguments import is_by_batch, need_texts
from luthier.documents import described
from luthier.engine.engine import Engine
from luthier.engine.options import RunOptions
from luthier.errors import DataError, ModelError, UserError
from luthier.experiments.board import Board, Boards
from luthier.history.artifacts import board_of
from luthier.history.run_ids import run_id_of
from luthier.history.runs import LoggedRun, experiment_of_task, run_with_id, runs_beneath, runs_of_experiment
from luthier.judging.answers_to_judge import (
    ANSWER_ID,
    AnswersToJudge,
    answer_id,
    answers_of_board,
    answers_of_leaderboard,
    answers_of_table,
)
from luthier.judging.genai_evaluation import TRACES
from luthier.judging.human_ratings import HUMAN, is_table_name
from luthier.judging.judge_setup import JudgeSetup
from luthier.judging.judge_spec import judge_text
from luthier.judging.judgement import Judgement
from luthier.outputs import check_file, write_file
from luthier.spec import Spec
from luthier.tables import check_target, frame_of, is_table, write_frame
from luthier.techniques import read_endpoint

if TYPE_CHECKING:
    from luthier.engine.ask_options import Progress

__all__ = ["answers_to_judge", "check_table", "judge", "write_judge", "write_sheet"]

RUN_ID = re.compile(r"[0-9a-f]{32}")


def judge(
    answers: Any,
    judge: Spec,
    *,
    specs: Sequence[str] = (),
    human: Any = (),
    train: Any = None,
    limit: int | None = None,
    budget_usd: float | None = None,
    traces: int = TRACES,
    task: str | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    mode: Literal["live", "batch"] = "live",
    wait: bool = True,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Judgement:
    """Has the answers of a comparison rated by a judge: a prompt spec that reads the columns `text`, `answer`, `truth`.

    Ratings are kept in the journal, so that the same call again costs nothing. Specs are compared on the same rows;
    where people have rated answers too, the judge is held against them.

    Args:
        answers: a board, the id of a compare run or of one spec in it, a registered model, or a table with a column
            `answer` (and `text`, `truth`, `spec`, `row`); `None` for the latest comparison of the task.
        judge: a prompt over a rating or a classification whose text column is `answer`. Of a classification the
            first label is the good one.
        specs: names of the specs whose answers are judged; all when absent.
        human: people's ratings: names of columns of the answers' table, or a table with `answer_id` (or `spec` and
            `row`) and columns of ratings.
        train: labelled rows for a judge with examples or calibration.
        limit: judges only so many rows, drawn with a fixed seed.
        budget_usd: most that may be spent.
        traces: at most so many answers are logged as an evaluation of MLflow's, 0 for none.
        task: whose latest comparison is taken, where `answers` is absent and the store has several tasks.
        fresh: asks again for what the journal holds.
        retry_failed: asks again for answers whose rating failed for good.
        mode: `live` asks now; `batch` asks by the service's Batch API, for less money, within a day.
        wait: whether batches are waited for; without, `Partial` says that they run, and the same call goes on with
            them later.
        engine: asks the judge; the process's own when absent.
        progress: is told of every rating; a bar on stderr when absent.

    Returns:
        A judgement; `.preferred` is the spec rated highest, `.frame` a row per spec, `.ratings` a row per answer.

    Raises:
        SpecError: the spec cannot be a judge.
        DataError: there are no answers, they lack a column, or people's ratings are no labels of the judge.
        ModelError: there is no such run, or it is of another kind.
        BudgetReached: the budget does not reach; what was paid for is kept.
        EndpointError: the judge cannot be asked.
        Partial: batches still run, and `wait` is false.
    """
    found = _given(answers, task).of_specs(need_texts("specs", specs)).limited(limit)
    one = isinstance(human, str | Path | Mapping) or is_table(human)
    setup = JudgeSetup(
        judge,
        found,
        human=[human] if one else list(human),
        train=None if train is None else frame_of(train, "the training table"),
        traces=traces,
    )
    options = RunOptions.within(budget_usd, engine=engine, progress=progress, fresh=fresh, retry_failed=retry_failed)
    return setup.run(setup.ask_by_batch(options, wait=wait) if is_by_batch(mode) else options)


def answers_to_judge(given: Sequence[str], *, task: str | None = None) -> AnswersToJudge:
    """The answers that words of a command name: `[RUN] [SPEC...]`, or a table of answers in place of the run.

    Args:
        given: the id of a run (or `runs:/ID`, `models:/NAME@ALIAS`) or a table first, then names of specs; the latest
            comparison of the task where there is neither.
        task: its name, where the store has several.
    """
    names = list(given)
    first = names[0] if names else ""
    if first.startswith(("runs:/", "models:/")) or RUN_ID.fullmatch(first):
        return _of_run(run_id_of(names.pop(0)), task).of_specs(names)
    if first and is_table_name(first):
        return answers_of_table(frame_of(names.pop(0)), first).of_specs(names)
    return _of_run(None, task).of_specs(names)


def check_table(path: str | Path) -> None:
    """Refuses, before anything is paid, a place where no table can be written.

    Raises:
        DataError: the ending is unknown, or a link, a folder or a device is there.
    """
    check_target(path)


def write_sheet(answers: AnswersToJudge, path: str | Path) -> int:
    """Writes a table for a person, with an empty column `human`, and returns how many answers are in it.

    A line per answer with its text and reference, in no order, and without the spec that gave it; what several specs
    answered alike is one line. Columns of several people may stand beside each other.

    Raises:
        DataError: it cannot be written there.
    """
    columns = ("row", "text", "truth", "answer")
    different = {answer_id(one): one for one in answers.records if one["answer"] is not None}
    lines = [{ANSWER_ID: key} | {name: one.get(name) for name in columns} for key, one in different.items()]
    random.Random(7).shuffle(lines)
    write_frame(frame_of([{**line, HUMAN: None} for line in lines]), path)
    return len(lines)


def write_judge(file: str | Path, endpoint: str | Path | None = None) -> Path:
    """Writes a first judge, with a rubric from 1 to 5; a file that is there is never replaced.

    Args:
        file: where.
        endpoint: an endpoint file for it; the embedded server when absent.

    Raises:
        UserError: there is such a file, or specs of a task are in that folder.
        SpecError: the endpoint file is none.
    """
    target = Path(file)
    if target.exists():
        raise UserError(f"{target} is there already; give another name, as in --write judge-2.yaml.")
    if target.suffix not in (".yaml", ".yml"):
        raise UserError(f"{target} is to be a spec; give it a name that ends in .yaml.")
    if (target.parent / "task.yaml").is_file():
        raise UserError(
            f"{target.parent} has the specs of a task, and luthier compare {target.parent} would take the judge for "
            f"one of them; put it elsewhere, as in --write {target.name}."
        )
    text = judge_text(target, None if endpoint is None else read_endpoint(endpoint))
    target.parent.mkdir(parents=True, exist_ok=True)
    check_file(target)
    return write_file(target, text)


def _given(answers: Any, task: str | None) -> AnswersToJudge:
    if isinstance(answers, Board):
        return answers_of_board(answers)
    if isinstance(answers, Boards):
        raise UserError(f"these are boards of several tables; judge one of them: boards[{answers.tables[0]!r}].")
    if isinstance(answers, AnswersToJudge):
        return answers
    if answers is None:
        return _of_run(None, task)
    if isinstance(answers, str) and not is_table_name(answers):
        return _of_run(run_id_of(answers), task)
    if isinstance(answers, str | Path) or is_table(answers):
        return answers_of_table(frame_of(answers), str(answers) if isinstance(answers, str | Path) else "the table")
    raise UserError(
        f"answers are a board, the id of a compare run or a table with a column `answer`; given: {described(answers)}."
    )


def _of_run(run_id: str | None, task: str | None) -> AnswersToJudge:
    run = run_with_id(run_id) if run_id is not None else _latest(task)
    if run_id is not None and task is not None and run.task != task:
        raise UserError(f"run {run_id} is of task {run.task!r}, not of {task!r}; leave one of them out.")
    if run.kind == "candidate" and run.parent and run.spec and run_with_id(run.parent).kind == "compare":
        # What a registered model was packaged from.
        return _of_run(run.parent, None).of_specs([run.spec])
    if run.kind != "compare":
        raise ModelError(
            f"run {run.run_id} is of kind {run.kind!r}, and answers are judged of a comparison: give the id of a run "
            "of luthier compare, or of one of its specs."
        )
    if run.test_digest is None:
        parts = [f"{part.run_id} ({part.name})" for part in runs_beneath(run) if part.kind == "compare"]
        raise ModelError(
            f"run {run.run_id} compares on several tables; give the run of one of them: {', '.join(parts) or 'none'}."
        )
    kept = board_of(run)
    measured = {part.spec: part.run_id for part in runs_beneath(run) if part.kind == "candidate" and part.spec}
    return answers_of_leaderboard(kept.board, kept.rows, run.run_id, measured)


def _latest(task: str | None) -> LoggedRun:
    place, name = experiment_of_task(task)
    for run in runs_of_experiment(place):
        if run.kind == "compare" and run.test_digest is not None:
            return run
    raise DataError(
        f"task {name!r} has no comparison yet, so there are no answers to judge; luthier compare makes one."
    )

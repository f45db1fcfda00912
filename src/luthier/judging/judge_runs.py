"""A judgement in MLflow: a run beneath that of the comparison, a child per spec, and an evaluation with traces."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import yaml

from luthier.engine.report import counted
from luthier.evaluation.interval import Interval
from luthier.judging.answers_to_judge import AnswersToJudge
from luthier.judging.genai_evaluation import TRACES_PER_SECOND, Evaluation
from luthier.judging.human_ratings import HumanRatings
from luthier.judging.judgement import Judgement, ratings_table
from luthier.judging.judgement_facts import KEPT, JudgedSpec, JudgementFacts
from luthier.judging.judgement_report import judgement_page, judgement_sentences
from luthier.reporting.markdown import listed
from luthier.tasks.prediction import Prediction
from luthier.techniques import Prompt
from luthier.tracking.runs import TAGS, MlflowRun
from luthier.tracking.tracker import MlflowTracker, Tracker

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["log_judgement"]


class JudgeInputs(Protocol):
    """What is judged, and by what: a `JudgeSetup`."""

    judge: Prompt
    answers: AnswersToJudge
    people: HumanRatings
    traces: int


def log_judgement(
    inputs: JudgeInputs,
    ratings: Sequence[Prediction],
    facts: JudgementFacts,
    tracker: Tracker,
    told: Callable[[str], None] = lambda _: None,
) -> Judgement:
    """Keeps everything, and gives it back.

    Args:
        inputs: what was judged.
        ratings: one per answer.
        facts: what was found.
        tracker: where runs are kept.
        told: is told in a line what takes long.
    """
    judge, answers = inputs.judge, inputs.answers
    table = ratings_table(judge.task, answers, ratings, inputs.people)
    partial = any(rating.transient for rating in ratings)
    task = answers.task or judge.task
    # Not all tags of the judge: its prompt is none of this task's prompts, which luthier prompts lists.
    tags = {
        TAGS["spec"]: judge.name,
        TAGS["spec_digest"]: judge.digest,
        TAGS["base_model"]: judge.base_model,
        TAGS["task"]: task.name,
        TAGS["task_digest"]: task.digest,
        TAGS["partial"]: str(partial).lower(),
    }
    if answers.run_id:
        tags[TAGS["judged_run"]] = answers.run_id
    if answers.test_digest:
        tags[TAGS["test_digest"]] = answers.test_digest
    title = f"{judge.name} rates {', '.join(one.name for one in facts.specs)}"
    with tracker.run(task, title[:250], "judge", tags, parent=answers.run_id or None) as run:
        run.log_text(yaml.safe_dump(judge.document(), sort_keys=False, allow_unicode=True), "judge.yaml")
        run.log_params({"judge": judge.name, "model_name": judge.base_model})
        run.log_params({"judged": ", ".join(answers.specs), "rows": answers.rows, "preferred": facts.preferred.name})
        facts = replace(facts, specs=tuple(_log_spec(one, facts, inputs, tracker, run) for one in facts.specs))
        _log(run, facts, table)
        # MLflow evaluates into its own store only, and slowly: what was paid for is kept before.
        if inputs.traces and isinstance(tracker, MlflowTracker):
            facts = _traced(inputs, ratings, facts, run, told)
            _log_facts(run, facts)
        return Judgement(facts, table, run.run_id, partial)


def _traced(
    inputs: JudgeInputs,
    ratings: Sequence[Prediction],
    facts: JudgementFacts,
    run: MlflowRun,
    told: Callable[[str], None],
) -> JudgementFacts:
    """What was found, with how many answers are an evaluation of MLflow's now, or why none is."""
    from mlflow.exceptions import MlflowException

    evaluation = Evaluation(inputs.judge, inputs.answers, ratings, inputs.people)
    places = evaluation.chosen(inputs.traces)
    if not places:
        return facts
    told(f"logging {counted(len(places), 'answer')} as an evaluation of MLflow, about {TRACES_PER_SECOND} a second")
    try:
        kept = evaluation.log(run.run_id, places)
    except MlflowException as error:
        return replace(facts, notes=(*facts.notes, f"MLflow keeps no evaluation of these answers: {error.message}"))
    notes = facts.notes
    if kept < len(places):
        notes = (*notes, f"MLflow lost {len(places) - kept:,} of {len(places):,} answers of its evaluation.")
    return replace(facts, traced=kept, notes=notes)


def _log(run: MlflowRun, facts: JudgementFacts, table: pd.DataFrame) -> None:
    found = {"preferred_score": facts.preferred.score}
    if facts.agreement is not None:
        found |= {f"human_{facts.agreement.metric}": facts.agreement.judge}
        if facts.agreement.people is not None:
            found |= {f"among_people_{facts.agreement.metric}": facts.agreement.people}
    if facts.length_correlation is not None:
        found |= {"length_correlation": facts.length_correlation}
    run.log_metrics(_known(found), facts.rows)
    run.log_spent(facts.spent_usd)
    run.log_answers(table)
    _log_facts(run, facts)
    run.describe(listed(judgement_sentences(facts)))
    run.log_page(judgement_page(facts))


def _log_facts(run: MlflowRun, facts: JudgementFacts) -> None:
    run.log_text(json.dumps(facts.to_document(), ensure_ascii=False, indent=1), KEPT)


def _log_spec(
    one: JudgedSpec, facts: JudgementFacts, inputs: JudgeInputs, tracker: Tracker, parent: MlflowRun
) -> JudgedSpec:
    task = inputs.answers.task or inputs.judge.task
    tags = {TAGS["task"]: task.name, TAGS["spec"]: one.name}
    with tracker.run(task, one.name, "judged", tags, parent=parent.run_id) as run:
        run.log_params({"judge": facts.judge, "measure": facts.measure, "model_name": one.model or "unknown"})
        found = {"judge_score": one.score, "judge_unrated": one.unrated}
        if facts.ordered:
            found |= {f"judge_share_{label}": share for label, share in one.shares.items() if label.isalnum()}
        run.log_metrics(_known(found), one.states.get("ok", 0))
        return replace(one, run_id=run.run_id)


def _known(found: dict[str, Interval]) -> dict[str, Interval]:
    """Those that are numbers: a spec without a rated answer has no score."""
    return {name: interval for name, interval in found.items() if interval.value == interval.value}

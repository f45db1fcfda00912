"""The runs of a search in MLflow: one for the search, and one beneath it for each prompt."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from luthier.engine.options import RunOptions
from luthier.evaluation.ranking import MeasuredOnce, metrics_of
from luthier.evaluation.resampling import Interval
from luthier.experiments.spec_results import candidate_of, log_result
from luthier.improving.fresh_rows import FreshMeasurement
from luthier.improving.improve_inputs import ImproveInputs
from luthier.improving.improvement import Improvement
from luthier.improving.improvement_facts import KEPT, ImprovementFacts, PromptFigures
from luthier.improving.improvement_report import improvement_page, improvement_sentences
from luthier.improving.search import RacedSearch, TriedPrompt
from luthier.packaging.prompt_versions import PromptStep, register_prompt_history
from luthier.providers.prices import sum_if_known
from luthier.reporting.markdown import listed
from luthier.techniques import Prompt
from luthier.techniques.wordings import wording_of, wording_text
from luthier.tracking.runs import TAGS, MlflowRun, made_from, spec_tags
from luthier.tracking.tracker import MlflowTracker, Tracker

__all__ = ["ImproveRun"]


class ImproveRun:
    """The run of a search while it goes on; one that is interrupted keeps what was found so far.

    Args:
        inputs: what is searched on.
        search: the search.
        tracker: where runs are kept.
        options: on what terms models are asked.
    """

    def __init__(self, inputs: ImproveInputs, search: RacedSearch, tracker: Tracker, options: RunOptions) -> None:
        self._inputs, self._search, self._tracker, self._options = inputs, search, tracker, options
        self._stack = contextlib.ExitStack()
        self._run: MlflowRun | None = None
        self._is_kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is not None:
            if not self._is_kept:
                self._keep(None)
            if self._options.report is not None:
                self._run.log_spent(self._options.report.spent_now_usd)
        self._stack.__exit__(kind, error, trace)

    def open(self) -> None:
        """Begins the run, once a model has answered: a wrong key leaves none behind."""
        inputs = self._inputs
        spec, rows = inputs.spec, len(inputs.rows)
        tags = spec_tags(spec) | {TAGS["test_digest"]: inputs.fresh.rows.digest}
        title = f"improve {spec.name} on {rows} rows"
        self._run = self._stack.enter_context(self._tracker.run(spec.task, title, "improve", tags))
        self._run.log_table(inputs.train_table, name="train", context="train", targets=spec.task.label)
        self._run.log_table(inputs.fresh.frame, name=inputs.fresh.name, context="test", targets=spec.task.label)
        given = {
            "spec": spec.name,
            "by": ", ".join(one.name for one in inputs.proposers),
            "writer": None if inputs.writer is None else inputs.writer.label,
            "ranked_by": inputs.metric,
            "rows": rows,
            "train_rows": len(inputs.train),
            "validation_rows": len(inputs.fresh.rows),
            "rounds_without_gain": inputs.rounds,
            "seed": inputs.seed,
            "budget_usd": self._options.budget_usd,
        }
        self._run.log_params({key: value for key, value in given.items() if value is not None})

    def keep_so_far(self) -> None:
        """Keeps the prompts measured so far with their page, so that a search that is killed leaves them."""
        assert self._run is not None
        self._run.tag(TAGS["partial"], "true")
        self._write(self._run, facts_of(self._inputs, self._search, self._options, None))

    def finished(self, fresh: FreshMeasurement) -> Improvement:
        """Keeps everything, and gives it back."""
        facts, specs = self._keep(fresh)
        assert self._run is not None
        winner = facts.prompt(facts.best)
        assert winner.fresh is not None
        measured: dict[str, Interval] = {facts.metric: winner.fresh.score}
        if facts.gain is not None:
            measured["gain"] = facts.gain
        self._run.log_metrics(measured, facts.fresh_rows)
        self._run.log_params({"best": facts.best, "winner": facts.winner, "has_gain": facts.has_gain})
        registers = facts.has_gain and isinstance(self._tracker, MlflowTracker)
        prompt_uri = self._register(facts, specs) if registers else None
        return Improvement(facts, specs, fresh.board, self._run.run_id, prompt_uri)

    def _register(self, facts: ImprovementFacts, specs: Mapping[str, Prompt]) -> str | None:
        """The winner in MLflow's prompt registry, a version of the first prompt after each that it came from."""
        line = [facts.prompt(facts.winner)]
        while line[0].parent:
            line.insert(0, facts.prompt(line[0].parent))
        steps = []
        for one in line:
            score = one.score if one.fresh is None else one.fresh.score
            on = (
                f"{one.rows:,} training rows"
                if one.fresh is None
                else f"{facts.fresh_rows:,} rows of {facts.fresh_name}"
            )
            digest = "" if one.fresh is None else self._inputs.fresh.rows.digest
            parent = specs[one.parent] if one.parent else None
            steps.append(PromptStep(specs[one.name], parent, one.how, {facts.metric: score}, on, digest))
        return register_prompt_history(steps, facts.start)[-1]

    def _keep(self, fresh: FreshMeasurement | None) -> tuple[ImprovementFacts, Mapping[str, Prompt]]:
        search, run = self._search, self._run
        search.settle()
        assert search is not None and run is not None
        specs = {one.spec.name: one.spec for one in search.ranked}
        facts = facts_of(self._inputs, search, self._options, fresh)
        children = {one.spec.name: self._log_prompt(one, specs, facts, fresh) for one in search.in_order}
        prompts = tuple(replace(one, run_id=children[one.name]) for one in facts.prompts)
        facts = replace(facts, prompts=prompts)
        run.tag(TAGS["partial"], str(fresh is None).lower())
        self._write(run, facts)
        self._is_kept = True
        return facts, specs

    def _write(self, run: MlflowRun, facts: ImprovementFacts) -> None:
        run.log_text(json.dumps(facts.to_document(), ensure_ascii=False, indent=1), KEPT)
        run.describe(listed(improvement_sentences(facts)))
        run.log_page(improvement_page(facts))

    def _log_prompt(
        self, one: TriedPrompt, specs: Mapping[str, Prompt], facts: ImprovementFacts, fresh: FreshMeasurement | None
    ) -> str:
        """A run of a prompt on training rows and, where it was measured on fresh ones, a `candidate`; its id."""
        found = self._log_trained(one, specs, facts.prompt(one.spec.name))
        results = [] if fresh is None else [result for result in fresh.results if result.spec.name == one.spec.name]
        for result in results:
            inputs, rows = self._inputs, self._inputs.fresh.rows
            with self._child(one, specs, "candidate", rows.digest, inputs.fresh.name) as run:
                metrics = metrics_of(inputs.spec.task, rows, candidate_of(result), measured=MeasuredOnce())
                log_result(run, result, inputs.fresh, metrics)
                found = run.run_id
        return found

    def _log_trained(self, one: TriedPrompt, specs: Mapping[str, Prompt], figures: PromptFigures) -> str:
        # Each round asks rows in an order of its own, so two prompts that it dropped did not see the same ones.
        seen = self._inputs.rows.take(sorted(one.answers))
        with self._child(one, specs, "prompt", seen.digest, "the training rows") as run:
            metrics = {self._inputs.metric: figures.score}
            if figures.cost_usd is not None:
                metrics["cost_per_1000_rows_usd"] = Interval(1000 * figures.cost_usd / figures.rows)
            run.log_metrics(metrics, figures.rows)
            run.log_spent(sum_if_known(answer.call.spent_usd for answer in one.answers.values()))
            run.log_fitted(one.fitted)
            return run.run_id

    @contextlib.contextmanager
    def _child(
        self, one: TriedPrompt, specs: Mapping[str, Prompt], kind: str, digest: str, table: str
    ) -> Iterator[MlflowRun]:
        assert self._run is not None
        tags = spec_tags(one.spec) | {TAGS["test_digest"]: digest}
        if one.parent:
            tags |= made_from(specs[one.parent], one.how)
        task = self._inputs.spec.task
        with self._tracker.run(task, one.spec.name, kind, tags, parent=self._run.run_id) as run:
            run.log_spec(one.spec)
            run.log_params({"test": table})
            yield run


def facts_of(
    inputs: ImproveInputs, search: RacedSearch, options: RunOptions, fresh: FreshMeasurement | None
) -> ImprovementFacts:
    """What a search found so far, as records."""
    figures = {} if fresh is None else fresh.figures
    ranked = sorted(search.ranked, key=lambda one: one.spec.name not in figures)
    return ImprovementFacts(
        task=inputs.spec.task.name,
        metric=inputs.metric,
        measure=inputs.spec.task.kind.metrics[inputs.metric],
        start=inputs.spec.name,
        winner=search.best.spec.name,
        prompts=tuple(_figures(search, one, figures) for one in ranked),
        rows=len(inputs.rows),
        fresh_rows=0 if fresh is None else fresh.board.rows_evaluated,
        fresh_name=inputs.fresh.name,
        rounds=search.rounds,
        by=tuple(one.name for one in inputs.proposers),
        writer="" if inputs.writer is None else inputs.writer.label,
        ended=search.ended,
        budget_usd=options.budget_usd,
        used_usd=search.money.used_usd,
        spent_usd=None if options.report is None else options.report.spent_now_usd,
        rows_needed=None if fresh is None else fresh.rows_needed,
        notes=tuple(search.notes),
    )


def _figures(search: RacedSearch, one: TriedPrompt, figures: Mapping[str, Any]) -> PromptFigures:
    measured = search.record(one)
    wording = wording_of(one.spec)
    return PromptFigures(
        name=one.spec.name,
        parent=one.parent,
        how=one.how,
        round=one.round,
        wording="" if wording is None else wording_text(wording),
        rows=len(one.answers),
        score=measured.score,
        cost_usd=measured.cost_usd,
        fresh=figures.get(one.spec.name),
    )

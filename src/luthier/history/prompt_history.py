"""Every prompt of a task that was measured: what it says, what it reached on which rows, what it was made from."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from luthier.errors import UserError
from luthier.evaluation.measures import METRICS, measures_of
from luthier.history.prompt_parents import PromptParent, parents_of
from luthier.history.prompt_runs import PromptFigure, PromptRun, kept_spec, prompt_runs
from luthier.history.runs import LoggedRun, experiment_of_task, runs_of_experiment
from luthier.history.versions import RegisteredVersion, versions_of_task
from luthier.packaging.lacking_stores import is_lacking
from luthier.packaging.prompt_versions import PromptVersionFound, prompt_versions_of
from luthier.tasks.types import Measure
from luthier.techniques.wordings import wording_text
from luthier.tracking.runs import tag_of

__all__ = ["MeasuredRows", "MeasuredWording", "PromptHistory", "prompts_of_runs", "prompts_of_task"]


@dataclass(frozen=True)
class MeasuredWording:
    """A prompt that was measured, whatever its name and whichever models were asked.

    Attributes:
        number: from 1, in the order in which prompts came about.
        digest: equal digests mean the same wording.
        wording: what it says, as JSON values.
        names: of the specs it was measured as, the latest first.
        figures: what was measured, the newest first.
        runs: ids of the runs that asked it, the newest first.
        first: Unix time of the first of them.
        parent: what it was made from; `None` where nothing tells.
        parent_number: of the wording it was made from; `None` where that was never measured.
        parent_text: what that one says.
        prompt_versions: in MLflow's prompt registry, such as `stars.few/3`.
        model_versions: registered models with this prompt, such as `stars/2`.
    """

    number: int
    digest: str
    wording: Mapping[str, Any] = field(repr=False)
    names: tuple[str, ...]
    figures: tuple[PromptFigure, ...] = field(repr=False)
    runs: tuple[str, ...] = field(repr=False)
    first: float
    parent: PromptParent | None = None
    parent_number: int | None = None
    parent_text: str | None = field(default=None, repr=False)
    prompt_versions: tuple[str, ...] = ()
    model_versions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What it says, as text."""
        return wording_text(self.wording)

    @property
    def diff(self) -> str:
        """What changed from the prompt it was made from, as a unified diff; empty where that is not known."""
        if self.parent_text is None:
            return ""
        before, after = f"#{self.parent_number}", f"#{self.number}"
        lines = (self.parent_text.split("\n"), self.text.split("\n"))
        return "\n".join(difflib.unified_diff(*lines, before, after, lineterm=""))

    @property
    def models(self) -> tuple[str, ...]:
        """The models it was measured with, each once."""
        return tuple(dict.fromkeys(one.model for one in self.figures))

    @property
    def spent_usd(self) -> float | None:
        """US dollars that its measurements cost when they were made; `None` where that is not known of one."""
        return _sum(one.spent_usd for one in self.figures)

    @property
    def price_usd(self) -> float | None:
        """US dollars that all answers behind its figures cost when they were first asked, by whatever run."""
        return _sum(one.price_usd for one in self.figures)

    def latest(self, metric: str) -> dict[tuple[tuple[str, int | None], str], PromptFigure]:
        """For each rows and model the newest figure; one that lacks rows only where there is no other."""
        found: dict[tuple[tuple[str, int | None], str], PromptFigure] = {}
        for one in self.figures:
            key = (one.rows_key, one.model)
            if metric in one.metrics and (key not in found or (found[key].partial and not one.partial)):
                found[key] = one
        return found


@dataclass(frozen=True)
class MeasuredRows:
    """Labelled rows on which prompts were measured; figures on other rows cannot be held against these.

    Attributes:
        key: digest of the rows, and how many were evaluated.
        table: what they are called.
        figures: the newest of each wording and model, with the wording; the best first.
    """

    key: tuple[str, int | None]
    table: str
    figures: tuple[tuple[MeasuredWording, PromptFigure], ...] = field(repr=False)

    @property
    def rows(self) -> int | None:
        """How many were evaluated."""
        return self.key[1]

    @property
    def is_choice(self) -> bool:
        """Whether a search chose among prompts by these rows, so that the best of them look better than they are."""
        return all(figure.is_choice for _, figure in self.figures)

    @property
    def wordings(self) -> tuple[MeasuredWording, ...]:
        """The prompts measured on them, in the order in which they came about."""
        known = {wording.number: wording for wording, _ in self.figures}
        return tuple(known[number] for number in sorted(known))


@dataclass(frozen=True)
class PromptHistory:
    """Every prompt of a task that was measured, in one metric.

    Attributes:
        task: its name.
        metric: that figures are shown in.
        measure: what it is.
        wordings: the oldest first.
        unread: number of runs whose prompt cannot be read any more.
        whole: number of prompts of the task, where only some are here.
    """

    task: str
    metric: str
    measure: Measure
    wordings: tuple[MeasuredWording, ...]
    unread: int = 0
    whole: int = 0

    @cached_property
    def tables(self) -> tuple[MeasuredRows, ...]:
        """The rows that prompts were measured on: those of most prompts first; of equally many, the newest.

        Rows that a search chose by come after all others, those of prompts it dropped early last.
        """
        found: dict[tuple[str, int | None], list[tuple[MeasuredWording, PromptFigure]]] = {}
        for wording in self.wordings:
            for (key, _), figure in wording.latest(self.metric).items():
                found.setdefault(key, []).append((wording, figure))
        sign = -1 if self.measure.better == "higher" else 1

        def best_first(pair: tuple[MeasuredWording, PromptFigure]) -> tuple[float, int]:
            return sign * pair[1].metrics[self.metric].value, pair[0].number

        tables = [
            MeasuredRows(key, self._called(pairs), tuple(sorted(pairs, key=best_first))) for key, pairs in found.items()
        ]

        def order(one: MeasuredRows) -> tuple[bool, int, int, float]:
            dropped = -(one.rows or 0) if one.is_choice else 0
            return one.is_choice, dropped, -len(one.wordings), -max(figure.when for _, figure in one.figures)

        return tuple(sorted(tables, key=order))

    @staticmethod
    def _called(pairs: Sequence[tuple[MeasuredWording, PromptFigure]]) -> str:
        counts = Counter(figure.table for _, figure in pairs)
        named = [table for table, _ in counts.most_common() if not table.startswith("rows ")]
        return (named or list(counts))[0]

    @property
    def spent_usd(self) -> float:
        """US dollars that measuring is known to have cost."""
        return math.fsum(one.spent_usd or 0.0 for one in self._figures)

    @property
    def unknown_spent(self) -> int:
        """How many measurements do not say what they cost, such as those of earlier Luthiers."""
        return sum(one.spent_usd is None for one in self._figures)

    @property
    def measurements(self) -> int:
        """How many there are."""
        return len(self._figures)

    @cached_property
    def _figures(self) -> list[PromptFigure]:
        return [one for wording in self.wordings for one in wording.figures]

    def numbered(self, number: int) -> MeasuredWording | None:
        """The prompt with this number."""
        return next((one for one in self.wordings if one.number == number), None)

    def of_spec(self, given: str) -> PromptHistory:
        """The prompts of a spec, with those they were made from and those made from them.

        Args:
            given: name of the spec, the number of a prompt as `#12`, or the beginning of its digest.

        Raises:
            UserError: none was measured under that name; the message has the names.
        """
        chosen = self._chosen(given)
        if not chosen:
            names = list(dict.fromkeys(name for one in reversed(self.wordings) for name in one.names))
            listed = ", ".join(names[:12]) + (f" and {len(names) - 12:,} more" if len(names) > 12 else "")
            raise UserError(
                f"no prompt of task {self.task!r} was measured as {given!r}; there are: {listed}. A prompt is also "
                "known by its number, as #3, and by 6 or more digits of its digest."
            )
        kept = {one.number for one in chosen}
        for one in reversed(self.wordings):
            if one.number in kept and one.parent_number is not None:
                kept.add(one.parent_number)
        below = {one.number for one in chosen}
        for one in self.wordings:
            if one.parent_number in below:
                below.add(one.number)
        return self._only(kept | below)

    def _chosen(self, given: str) -> list[MeasuredWording]:
        named = [one for one in self.wordings if given in one.names]
        if named:
            return named
        if given.removeprefix("#").isdigit() and (found := self.numbered(int(given.removeprefix("#")))) is not None:
            return [found]
        return [one for one in self.wordings if len(given) >= 6 and one.digest.startswith(given)]

    def _only(self, numbers: set[int]) -> PromptHistory:
        kept = tuple(one for one in self.wordings if one.number in numbers)
        return replace(self, wordings=kept, whole=self.whole or len(self.wordings))


def prompts_of_task(task: str | None = None, metric: str | None = None) -> PromptHistory:
    """Every prompt of a task that was measured.

    Args:
        task: its name; when absent, the one task that the store has.
        metric: that figures are shown in; what the newest comparison was ranked by when absent.

    Raises:
        DataError: there is no such task, or several and none was named; the message has the names.
        UserError: the store cannot be reached, no prompt was measured, or none in that metric.
    """
    experiment_id, name = experiment_of_task(task)
    runs = runs_of_experiment(experiment_id)
    return prompts_of_runs(name, runs, metric, versions_of_task(name, runs), _prompt_versions(name))


def prompts_of_runs(
    task: str,
    runs: Sequence[LoggedRun],
    metric: str | None = None,
    models: Sequence[RegisteredVersion] = (),
    prompts: Sequence[PromptVersionFound] = (),
) -> PromptHistory:
    """As `prompts_of_task`, of runs and versions that are known already."""
    asked, unread = prompt_runs(runs)
    if not any(one.figure for one in asked):
        raise UserError(f"no prompt of task {task!r} was measured yet. luthier compare SPEC --test TABLE measures one.")
    chosen = _metric(task, runs, asked, metric)
    wordings = tuple(_wordings(asked, models, prompts))
    return PromptHistory(task, chosen, _measure(chosen, asked), wordings, len(unread))


def _wordings(
    asked: Sequence[PromptRun], models: Sequence[RegisteredVersion], prompts: Sequence[PromptVersionFound]
) -> list[MeasuredWording]:
    # A prompt that was fitted or scored and never measured has no figure to show.
    measured = {one.digest for one in asked if one.figure}
    asked = [one for one in asked if one.digest in measured]
    order, parents = parents_of(asked)
    by_digest: dict[str, list[PromptRun]] = {digest: [] for digest in order}
    of_spec: dict[str, str] = {}
    for one in reversed(asked):
        by_digest[one.digest].append(one)
        of_spec[tag_of(one.run.tags, "spec_digest") or ""] = one.digest
    in_models: dict[str, list[str]] = {}
    for version in models:
        digest = tag_of(version.tags, "prompt_digest") or of_spec.get(tag_of(version.tags, "spec_digest") or "-", "")
        in_models.setdefault(digest, []).append(version.name)
    in_prompts: dict[str, list[str]] = {}
    for prompt in prompts:
        in_prompts.setdefault(prompt.digest or of_spec.get(prompt.spec_digest or "-", ""), []).append(prompt.name)
    made: dict[str, MeasuredWording] = {}
    for number, (digest, runs) in enumerate(by_digest.items(), start=1):
        parent = parents.get(digest)
        above = None if parent is None else made.get(parent.digest)
        made[digest] = MeasuredWording(
            number=number,
            digest=digest,
            wording=runs[0].wording,
            names=tuple(dict.fromkeys(one.run.spec or one.run.name for one in runs)),
            figures=tuple(one.figure for one in runs if one.figure),
            runs=tuple(one.run.run_id for one in runs),
            first=runs[-1].run.started,
            parent=parent,
            parent_number=None if above is None else above.number,
            parent_text=None if above is None else above.text,
            prompt_versions=tuple(reversed(in_prompts.get(digest, ()))),
            model_versions=tuple(reversed(in_models.get(digest, ()))),
        )
    return list(made.values())


def _metric(task: str, runs: Sequence[LoggedRun], asked: Sequence[PromptRun], metric: str | None) -> str:
    known = dict.fromkeys(name for one in asked if one.figure for name in one.figure.metrics)
    if metric is None:
        ranked = next((run.params["ranked_by"] for run in runs if run.params.get("ranked_by") in known), None)
        return ranked or next((name for name in METRICS if name in known), next(iter(known)))
    if metric not in known:
        named = [name for name in known if name in METRICS] or list(known)
        raise UserError(
            f"no prompt of task {task!r} was measured in {metric!r}; there are: {', '.join(sorted(named))}."
        )
    return metric


def _measure(metric: str, asked: Sequence[PromptRun]) -> Measure:
    if metric in METRICS:
        return METRICS[metric]
    # The task type knows it, and a run that measured it keeps the task.
    kept = (kept_spec(one.run) for one in reversed(asked) if one.figure and one.run.kind != "rai")
    spec = next((one for one in kept if one is not None), None)
    known = {} if spec is None else measures_of(spec.task)
    return known.get(metric) or Measure(metric, "higher", "number", metric)


def _prompt_versions(task: str) -> tuple[PromptVersionFound, ...]:
    from mlflow.exceptions import MlflowException

    try:
        return prompt_versions_of(task)
    except MlflowException as error:
        if not is_lacking(error):
            raise UserError(f"MLflow's prompt registry could not be read: {error.message}") from error
        return ()


def _sum(values: Any) -> float | None:
    """The sum of all; `None` where one is unknown or there is none."""
    found = list(values)
    return None if not found or None in found else math.fsum(found)

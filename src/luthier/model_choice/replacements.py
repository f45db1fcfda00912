"""What replaces a model that retires: the same recipe on other models, measured on the same rows as the old one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.accounts.kept_lists import KeptList
from luthier.engine.options import DEFAULTS, RunOptions
from luthier.engine.report import Report
from luthier.errors import UserError
from luthier.evaluation.leaderboard import Comparison, Entry, Leaderboard
from luthier.evaluation.resampling import Interval
from luthier.experiments.board import Board
from luthier.experiments.checking import check_specs
from luthier.experiments.compare import ComparisonSetup
from luthier.model_catalogue import Catalogue
from luthier.model_choice.candidates import LeftOut
from luthier.model_choice.replacement_candidates import (
    MOST_CANDIDATES,
    ReplacementCandidate,
    replacement_candidates,
)
from luthier.model_choice.retiring import KnownModels, Retirement, RetirementWatch
from luthier.packaging.loading import find_model
from luthier.plans import Plan
from luthier.spec import Fitted, Spec
from luthier.techniques import FineTune
from luthier.techniques.spec_writing import plain_name, spec_text
from luthier.tracking.tracker import Tracker
from luthier.tuning.tuned_specs import write_unreplaced

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MeasuredCandidate", "Replacement", "ReplacementSetup"]


@dataclass(frozen=True)
class MeasuredCandidate:
    """A model in the place of the old one, as it was measured.

    Attributes:
        candidate: the recipe with it.
        run_id: MLflow run that measured it.
        value: the ranking metric with its interval.
        difference: to the old model in it, or to the best candidate where the old one was not measured; `None` for
            that one itself.
        comparison: the leaderboard's own record of the two; `None` as above.
        is_worse: whether it is clearly worse, after the leaderboard's correction.
        is_better: whether it is clearly better.
        cost_per_1000_rows_usd: as measured; `None` where the price is unknown.
    """

    candidate: ReplacementCandidate
    run_id: str
    value: Interval
    difference: Interval | None
    comparison: Comparison | None
    is_worse: bool
    is_better: bool
    cost_per_1000_rows_usd: float | None

    @property
    def model(self) -> str:
        """Its name, as an endpoint names it."""
        assert self.candidate.spec.endpoint is not None
        return self.candidate.spec.endpoint.model


@dataclass(frozen=True)
class Replacement:
    """What was measured for a version whose model retires, and what is proposed.

    Attributes:
        retirement: the version, and when its model retires.
        fitted: what answers now.
        board: the comparison; `None` where there was nothing to compare.
        old: the old model on these rows; `None` where it answers no more and the journal lacks its answers.
        measured: the candidates, the best first.
        proposed: the cheapest of those that are not clearly worse; of those that cost the same, the one that stays
            longest. `None` where every one is worse, or there is none.
        left_out: models that were not measured, and why.
        files: the specs that were written: the one proposed, then one to fine-tune.
    """

    retirement: Retirement
    fitted: Fitted
    board: Board | None
    old: Entry | None
    measured: tuple[MeasuredCandidate, ...]
    proposed: MeasuredCandidate | None
    left_out: tuple[LeftOut, ...]
    files: tuple[Path, ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type to take the proposal over; nothing is registered or promoted before."""
        if self.proposed is None:
            return ()
        use = self.retirement.use
        found = [f"luthier log runs:/{self.proposed.run_id} --register {use.model}"]
        found += [f"luthier promote {use.model} --alias {alias}" for alias in use.aliases]
        for one in use.deployments:
            uri = f"models:/{use.model}@{use.aliases[0]}" if use.aliases else f"models:/{use.model}/VERSION"
            found.append(f"luthier deploy {uri} --target local --name {one.name}")
        return tuple(found)

    @property
    def tunable(self) -> FineTune | None:
        """For a fine-tune, its recipe on the proposed or best new model, to be tuned there."""
        spec = self.fitted.spec
        chosen = self.proposed or (self.measured[0] if self.measured else None)
        if not isinstance(spec, FineTune) or chosen is None:
            return None
        new = chosen.candidate.spec
        untuned = spec.untuned()
        return type(untuned).model_validate({**untuned._fields(), "name": new.name, "endpoint": new.endpoint})

    def write(self, folder: str | Path = "models") -> Replacement:
        """Writes the proposal as NAME-on-MODEL.yaml, and for a fine-tune the recipe to tune; replaces no file.

        Args:
            folder: made where there is none.

        Raises:
            UserError: it cannot be written.
        """
        place = Path(folder)
        why = f"{self.retirement.asked.label} retires on {self.retirement.on.isoformat()}"
        wanted: list[tuple[Spec, str]] = [] if self.proposed is None else [(self.proposed.candidate.spec, "")]
        wanted += [] if self.tunable is None else [(self.tunable, "-to-tune")]
        head = f"Written by luthier: {why}."

        def written(spec: Spec, ending: str) -> Path:
            file = place / f"{spec.name}{ending}.yaml"
            return write_unreplaced(file, lambda path: spec_text(_renamed(spec, path.stem), path, head))

        try:
            place.mkdir(parents=True, exist_ok=True)
            files = tuple(written(spec, ending) for spec, ending in wanted)
        except OSError as error:
            raise UserError(f"no spec can be written to {place} ({error.strerror}); give another --folder.") from error
        return replace(self, files=files)

    def document(self) -> dict[str, Any]:
        """What was found as JSON values."""
        return {
            "retirement": self.retirement.document(),
            "run_id": None if self.board is None else self.board.run_id,
            "metric": None if self.board is None else self.board.leaderboard.ranked_by,
            "old": None if self.old is None else _figures(self.old, self.board),
            "measured": [_measured_document(one) for one in self.measured],
            "proposed": None if self.proposed is None else self.proposed.model,
            "left_out": [{"model": one.name, "why": one.why} for one in self.left_out],
            "files": [str(file) for file in self.files],
            "commands": list(self.commands),
        }


class ReplacementSetup:
    """Retiring versions, their candidates and rows, read once and checked: what comparing costs, and the comparison.

    Args:
        watch: what retires; its versions in use are replaced, or where none is, all of its versions that retire.
        catalogue: what is known of models.
        kept: what accounts told of their models.
        tests: the labelled rows, by the name of their table.
        train: labelled rows for recipes that must be fitted on the new model.
        models: further models to try, as an endpoint names them.
        most: how many of the catalogue's models are tried.

    Raises:
        UserError: nothing of the watch retires, or what does answers several tasks.
        ModelError: a version cannot be read.
        DataError: the table lacks a column or a label is wrong.
    """

    def __init__(
        self,
        watch: RetirementWatch,
        catalogue: Catalogue,
        kept: Sequence[KeptList],
        tests: Mapping[str, pd.DataFrame],
        train: pd.DataFrame | None = None,
        *,
        models: Sequence[str] = (),
        most: int = MOST_CANDIDATES,
    ) -> None:
        self.tests, self.train = tests, train
        self.jobs = [
            _Job.of(one, catalogue, kept, self.train is not None, models, most, watch) for one in _to_replace(watch)
        ]
        for job in self.jobs:
            # Rows and labels are checked before anything is planned.
            self._comparison(job, job.candidates, with_old=True)

    def plan(self, options: RunOptions = DEFAULTS) -> Plan:
        """What the comparisons would send and cost; sends nothing."""
        planned = [
            one
            for job in self.jobs
            if job.candidates
            for one in self._comparison(job, job.candidates, with_old=self._has_old(job, options)).plan(options).specs
        ]
        return Plan(tuple(planned), options.budget_usd)

    def run(self, options: RunOptions = DEFAULTS, *, tracker: Tracker | None = None) -> list[Replacement]:
        """Compares each retiring version with its candidates, each comparison in an MLflow run of its own.

        A candidate that one cheap call shows not to work is left out. A budget is for all of them together, and what
        the journal has is not asked again.
        """
        options = options.for_command()
        return [self._replaced(job, options, tracker) for job in self.jobs]

    def _replaced(self, job: _Job, options: RunOptions, tracker: Tracker | None) -> Replacement:
        working, left = self._working(job, options)
        with_old = self._has_old(job, options)
        if not working:
            return Replacement(job.retirement, job.fitted, None, None, (), None, tuple(left))
        setup = self._comparison(job, working, with_old=with_old)
        board = setup.run(replace(options, report=Report()), tracker=tracker)
        failed = board.unanswered
        left += [LeftOut(job.model_of(name), why) for name, why in failed.items() if name != job.fitted.spec.name]
        judged = [one for one in working if one.spec.name not in failed]
        leaderboard = board.leaderboard
        old = leaderboard.entry(job.fitted.spec.name) if with_old else None
        measured = tuple(_measured(leaderboard, board, judged, old))
        return Replacement(job.retirement, job.fitted, board, old, measured, _choice(measured), tuple(left))

    def _working(self, job: _Job, options: RunOptions) -> tuple[list[ReplacementCandidate], list[LeftOut]]:
        """The candidates whose model answers; one that was measured before is not tried."""
        left = list(job.left_out)
        working = []
        for one in job.candidates:
            if self._comparison(job, [one], with_old=False).plan(options).asks:
                [checked] = check_specs([one.spec], options.report)
                if not checked.ok:
                    why = next(found.detail for found in checked.findings if found.ok is False)
                    left.append(LeftOut(job.model_of(one.spec.name), why))
                    continue
            working.append(one)
        return working, left

    def _has_old(self, job: _Job, options: RunOptions) -> bool:
        """Whether the old model can be compared with: it answers still, or the journal has all its answers."""
        return not job.retirement.has_passed or not self._comparison(job, [], with_old=True).plan(options).asks

    def _comparison(self, job: _Job, candidates: Sequence[ReplacementCandidate], *, with_old: bool) -> ComparisonSetup:
        specs = [job.fitted.spec] * with_old + [one.spec for one in candidates]
        fits = {one.spec.name: one.fitted for one in candidates if one.fitted is not None}
        fits |= {job.fitted.spec.name: job.fitted} if with_old else {}
        return ComparisonSetup(specs, self.tests, self.train, allow_leaks=False, fits=fits)


@dataclass(frozen=True)
class _Job:
    """A version to be replaced, with what could."""

    retirement: Retirement
    fitted: Fitted
    candidates: tuple[ReplacementCandidate, ...]
    left_out: tuple[LeftOut, ...]

    @classmethod
    def of(
        cls,
        retirement: Retirement,
        catalogue: Catalogue,
        kept: Sequence[KeptList],
        has_training: bool,
        models: Sequence[str],
        most: int,
        watch: RetirementWatch,
    ) -> _Job:
        fitted = find_model(retirement.use.uri).fitted
        endpoint, asked = fitted.spec.endpoint, retirement.asked
        if endpoint is None or endpoint.model != asked.name:
            why = "the recipe asks it beside its own model; change that setting by hand"
            return cls(retirement, fitted, (), (LeftOut(asked.name, why),))
        found, left = replacement_candidates(
            fitted,
            catalogue,
            KnownModels(catalogue, kept).offered_at(endpoint.provider, endpoint.address),
            named=models,
            has_training=has_training,
            today=watch.today,
            within_days=watch.within_days,
            most=most,
        )
        return cls(retirement, fitted, tuple(found), tuple(left))

    def model_of(self, spec: str) -> str:
        """The model of a candidate, by the name of its spec."""
        endpoints = (one.spec.endpoint for one in self.candidates if one.spec.name == spec)
        return next((one.model for one in endpoints if one is not None), spec)


def _to_replace(watch: RetirementWatch) -> list[Retirement]:
    """The first retirement of each version that is to be replaced."""
    ending = [one for one in watch.near if one.stops == "answers" and one.use.kind == "version"]
    chosen = [one for one in ending if one.use.is_in_use] or ending
    first: dict[str, Retirement] = {}
    for one in chosen:
        first.setdefault(one.use.name, one)
    if not first:
        raise UserError(
            f"no registered version stops answering within {watch.within_days} days, so there is nothing to replace. "
            "A larger --within looks farther ahead."
        )
    tasks = sorted({one.use.task for one in first.values()})
    if len(tasks) > 1:
        raise UserError(
            f"what retires answers several tasks ({', '.join(tasks)}), and the test table is for one; add --task NAME."
        )
    return list(first.values())


def _measured(
    leaderboard: Leaderboard, board: Board, candidates: Sequence[ReplacementCandidate], old: Entry | None
) -> Iterator[MeasuredCandidate]:
    by_name = {one.spec.name: one for one in candidates}
    metric = leaderboard.ranked_by
    entries = [one for one in leaderboard.entries if one.name in by_name and metric in one.metrics]
    reference = old or (entries[0] if entries else None)
    for entry in entries:
        assert reference is not None
        both = {entry.name, reference.name}
        pair = next((one for one in leaderboard.pairs if {one.first, one.second} == both), None)
        is_clear = pair is not None and pair.corrected < leaderboard.alpha
        cost = entry.metrics.get("cost_per_1000_rows_usd")
        yield MeasuredCandidate(
            by_name[entry.name],
            board[entry.name].run_id,
            entry.metrics[metric],
            None if pair is None else pair.difference if pair.first == entry.name else _turned(pair.difference),
            pair,
            is_clear and pair is not None and pair.second == entry.name,
            is_clear and pair is not None and pair.first == entry.name,
            None if cost is None else cost.value,
        )


def _turned(difference: Interval) -> Interval:
    low, high = difference.low, difference.high
    return Interval(-difference.value, None if high is None else -high, None if low is None else -low)


def _choice(measured: Sequence[MeasuredCandidate]) -> MeasuredCandidate | None:
    def order(one: MeasuredCandidate) -> tuple[bool, float, date]:
        cost = one.cost_per_1000_rows_usd
        # Prices within a few percent are one price, so that years of service are not given up for a cent.
        return cost is None, float(f"{cost or 0.0:.1e}"), one.candidate.retires or date.min

    fit = sorted((one for one in measured if not one.is_worse), key=lambda one: order(one)[:2])
    if not fit:
        return None
    cheapest = [one for one in fit if order(one)[:2] == order(fit[0])[:2]]
    return max(cheapest, key=lambda one: order(one)[2])


def _renamed(spec: Spec, name: str) -> Spec:
    return type(spec).model_validate({**spec._fields(), "name": plain_name(name)})


def _figures(entry: Entry, board: Board | None) -> dict[str, Any]:
    assert board is not None
    value, cost = entry.metrics.get(board.leaderboard.ranked_by), entry.metrics.get("cost_per_1000_rows_usd")
    return {"value": _interval(value), "cost_per_1000_rows_usd": None if cost is None else cost.value}


def _measured_document(one: MeasuredCandidate) -> dict[str, Any]:
    retires = one.candidate.retires
    return {
        "model": one.model,
        "spec": one.candidate.spec.name,
        "run_id": one.run_id,
        "value": _interval(one.value),
        "difference": _interval(one.difference),
        "is_worse": one.is_worse,
        "is_better": one.is_better,
        "cost_per_1000_rows_usd": one.cost_per_1000_rows_usd,
        "retires": None if retires is None else retires.isoformat(),
    }


def _interval(given: Interval | None) -> list[float | None] | None:
    return None if given is None else [given.value, given.low, given.high]

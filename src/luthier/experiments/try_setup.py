"""One row asked of specs, before and after an edit: what it would cost, and every answer with all that led to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from luthier.engine.options import DEFAULTS, RunOptions
from luthier.engine.progress import shown
from luthier.errors import DataError, EndpointError, SpecError
from luthier.experiments.fits import expected_digest, fit_on, training_for
from luthier.experiments.try_records import Tried, TriedCall, TriedWording
from luthier.plans import Plan, plan_fit, plan_rows
from luthier.providers.exchange import Conversation
from luthier.spec import Fitted, Spec
from luthier.tables import frame_of
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows
from luthier.techniques import Decision
from luthier.techniques.prompt.recipe import PromptRecipe
from luthier.tracking.stores import no_autologging
from luthier.tracking.tracker import MlflowTracker, Tracker

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TrySetup"]

MOST_AT_ONCE = 8
"""Specs that are asked at the same time."""

UNCALIBRATED = (
    "Not calibrated, as there are no training rows: the probabilities are as the model gives them. --train TABLE "
    "(train=) measures first which labels it prefers whatever the text."
)


@dataclass(frozen=True)
class _Variant:
    spec: Spec
    wording: TriedWording
    title: str


class TrySetup:
    """Specs that answer one row at a time, read once and checked.

    Args:
        specs: recipes for one task, with distinct names, such as one per model.
        train: labelled rows for those that need them; a spec that only calibrates on them is asked without.
        before: the same specs as they were before an edit; they answer too.

    Raises:
        SpecError: there is no spec, two have one name, they are of different tasks, or one needs training rows.
        DataError: the training table lacks a column or holds a wrong label.
    """

    def __init__(
        self, specs: Sequence[Spec], train: pd.DataFrame | None = None, *, before: Sequence[Spec] = ()
    ) -> None:
        if not specs:
            raise SpecError("there is no spec to try.")
        names = [spec.name for spec in specs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SpecError(f"two specs are called {', '.join(twice)}; give each a name of its own.")
        self.specs, self.before, self.train = tuple(specs), tuple(before), train
        self.task = specs[0].task
        other = next((one for one in (*specs, *before) if one.task.digest != self.task.digest), None)
        if other is not None:
            raise SpecError(f"{other.name} is of another task than {specs[0].name}; try specs of one task.")
        self._variants = _variants(self.before, self.specs)
        fitted_by = [one.spec for one in self._variants if not (train is None and _only_calibrates(one.spec))]
        # Both wordings of a spec have its name, and may read different columns.
        self._training = {id(spec): training_for([spec], train)[spec.name] for spec in fitted_by}
        self._fits: dict[str, Fitted] = {}

    def row(self, given: str | Mapping[str, Any]) -> Rows:
        """A text, or a row by column, as the specs read it.

        Raises:
            DataError: a column that a template names is missing, or the text is none.
        """
        if isinstance(given, str) and len(self.task.text_columns) > 1:
            raise DataError(
                f"task {self.task.name!r} reads several texts of a row: {', '.join(self.task.text_columns)}. Give a "
                "row of a table (--rows TABLE --row N), in Python also a dict of these columns."
            )
        row = {self.task.text: given} if isinstance(given, str) else dict(given)
        return self.task.rows(frame_of([row]), source="the row")

    def plan(self, row: Rows, options: RunOptions = DEFAULTS, *, tracker: Tracker | None = None) -> Plan:
        """What asking would send and cost, a fit that is still to come included; sends nothing.

        Raises:
            DataError: the row lacks a column.
        """
        counted: set[bytes] = set()
        planned = []
        for one in self._variants:
            train = self._training.get(id(one.spec))
            fitted = self._known(one.spec, options, tracker)
            found = plan_rows(one.spec, row, train, options, fitted=fitted, counted=counted)
            planned.append(replace(found, name=one.title))
        return Plan(tuple(planned), options.budget_usd)

    def run(self, row: Rows, options: RunOptions = DEFAULTS, *, tracker: Tracker | None = None) -> tuple[Tried, ...]:
        """Asks every spec, those of several models at the same time. A model that refuses does not stop the others.

        Raises:
            EndpointError: no spec could be asked.
            BudgetReached: the budget does not pay for the row.
            Interrupted: a signal came.
            DataError: the row lacks a column.
        """
        # Asked again means once more for each row, not once for all.
        options = replace(options, asked=set(), collected=set()).for_command()
        for one in self._variants:
            one.spec.check_columns(row.inputs[0], "the row")
        found: dict[str, Tried] = {}
        errors: list[EndpointError] = []
        fits: list[tuple[_Variant, Fitted]] = []

        def failed(one: _Variant, error: EndpointError) -> Tried:
            errors.append(error)
            unasked = Prediction(None, "failed", error=str(error), call=CallRecord(spent_usd=0.0))
            return Tried(one.spec, one.title, one.wording, (), unasked)

        for one in self._variants:
            try:
                fits.append((one, self._fitted(one, options, tracker)))
            except EndpointError as error:
                found[one.title] = failed(one, error)

        def ask(given: tuple[_Variant, Fitted]) -> Tried:
            try:
                return self._asked(*given, row, options)
            except EndpointError as error:
                return failed(given[0], error)

        with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
            found |= {one.title: one for one in pool.map(ask, fits)}
        if len(errors) == len(found):
            raise errors[0]
        return tuple(found[one.title] for one in self._variants)

    def with_settings(self, settings: Mapping[str, Any]) -> TrySetup:
        """The same specs with settings changed, beside those of now: both answer.

        Raises:
            SpecError: a spec has no such setting, or the value is wrong.
        """
        changed = TrySetup([spec.with_settings(settings) for spec in self.specs], self.train, before=self.specs)
        changed._fits = self._fits
        return changed

    def of_wording(self, *, after: bool) -> TrySetup:
        """With one wording only: that after the edit, or that before it."""
        chosen = TrySetup(self.specs if after or not self.before else self.before, self.train)
        chosen._fits = self._fits
        return chosen

    def _known(self, spec: Spec, options: RunOptions, tracker: Tracker | None) -> Fitted | None:
        """What the spec became already, here or in a run; `None` where it is still to be fitted."""
        if id(spec) not in self._training:
            return Fitted(spec=spec)
        train = self._training[id(spec)]
        digest = expected_digest(spec, train)
        known = self._fits.get(digest)
        as_it_is = RunOptions(engine=options.engine)
        if known is None and train is not None and not options.fresh and plan_fit(spec, train, as_it_is).asks:
            # What a run keeps is not fitted again; it is looked for only where fitting would be paid.
            known = (tracker or MlflowTracker()).find_fitted(spec.task, digest)
        return None if known is None else replace(known, spec=spec)

    def _fitted(self, one: _Variant, options: RunOptions, tracker: Tracker | None) -> Fitted:
        spec = one.spec
        known = self._known(spec, options, tracker)
        if known is None:
            with shown(options.progress, f"fitting {one.title}") as progress:
                known = fit_on(spec, self._training[id(spec)], replace(options, progress=progress))
        if id(spec) in self._training:
            self._fits[expected_digest(spec, self._training[id(spec)])] = known
        return known

    def _asked(self, one: _Variant, fitted: Fitted, row: Rows, options: RunOptions) -> Tried:
        calls: list[TriedCall] = []
        with no_autologging():
            conversation = _watched(fitted.predict(row), calls)
            [prediction] = options.asking_engine().drive(conversation, one.spec.endpoint, options)
        return Tried(one.spec, one.title, one.wording, tuple(calls), prediction, tuple(self._notes(one.spec, fitted)))

    def _notes(self, spec: Spec, fitted: Fitted) -> list[str]:
        if spec.needs_training and id(spec) not in self._training:
            return [UNCALIBRATED]
        found = []
        shown = len(fitted.state.get("examples", ()))
        if shown:
            found.append(f"Shows {shown} training rows as examples.")
        if "leaning" in fitted.state:
            found.append("Calibrated on training rows: probabilities are divided by what the model prefers anyway.")
        return found


def _only_calibrates(spec: Spec) -> bool:
    """Whether training rows only correct its probabilities, so that it can answer without."""
    if isinstance(spec, PromptRecipe):
        return spec.needs_training and not spec.prompt.examples.most
    return isinstance(spec, Decision) and spec.needs_training


def _variants(before: Sequence[Spec], after: Sequence[Spec]) -> list[_Variant]:
    models = [spec.base_model for spec in after]
    by_model = len(set(models)) == len(models)
    found = []
    wordings: tuple[tuple[TriedWording, Sequence[Spec]], ...] = (("before", before), ("after", after))
    for wording, specs in wordings if before else ((("", after)),):
        for spec in specs:
            name = spec.base_model if by_model and spec.endpoint is not None else spec.name
            title = name if not wording else wording if len(after) == 1 else f"{name}, {wording}"
            found.append(_Variant(spec, wording, title))
    return found


def _watched(conversation: Conversation[list[Prediction]], kept: list[TriedCall]) -> Conversation[list[Prediction]]:
    """The same conversation; its requests and their answers are kept."""
    answers = None
    while True:
        try:
            requests = next(conversation) if answers is None else conversation.send(answers)
        except StopIteration as end:
            found: list[Prediction] = end.value
            return found
        answers = yield requests
        kept += map(TriedCall, requests, answers)

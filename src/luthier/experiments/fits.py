"""From a spec to something that answers: fitted on training rows, or taken from the run that already was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from luthier.engine.options import DEFAULTS, RunOptions
from luthier.engine.progress import ProgressForecast, shown
from luthier.errors import SpecError
from luthier.plans import Plan, plan_fit
from luthier.providers.exchange import Answer
from luthier.spec import Fitted, Spec
from luthier.tasks.task import Rows
from luthier.techniques import Prompt
from luthier.tracking.runs import spec_tags
from luthier.tracking.stores import no_autologging
from luthier.tracking.tracker import MlflowTracker, Tracker

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FitSetup", "expected_digest", "fit_on", "follow_ups_of", "known_fit", "training_for"]


def training_for(specs: Sequence[Spec], train: pd.DataFrame | None) -> dict[str, Rows | None]:
    """The labelled rows each spec of a task is fitted on, by its name; `None` for one that needs none.

    Raises:
        SpecError: a spec cannot answer yet, or needs training rows and there are none.
        DataError: the table lacks a column or holds a wrong label.
    """
    found: dict[str, Rows | None] = dict.fromkeys(spec.name for spec in specs)
    rows: Rows | None = None
    for spec in specs:
        spec.check_ready()
        if not spec.needs_training:
            continue
        if train is None:
            raise SpecError(f"spec {spec.name!r} ({spec.technique}) needs training rows; add --train TABLE (train=).")
        spec.check_columns(train.columns, "the training table")
        if rows is None:
            # Read once for all of them.
            rows = spec.task.rows(train, labelled=True, source="the training table")
        found[spec.name] = rows
    return found


def expected_digest(spec: Spec, rows: Rows | None) -> str:
    """The digest `spec` will have once it is fitted on `rows`; known before anything is paid."""
    return Fitted(spec=spec, train_digest=None if rows is None else rows.digest_of(spec.columns)).digest


def known_fit(spec: Spec, rows: Rows | None, tracker: Tracker) -> Fitted | None:
    """What a run already fitted from the same spec, rows and seed; `None` if none did, or there is nothing to fit."""
    known = None if rows is None else tracker.find_fitted(spec.task, expected_digest(spec, rows))
    # Name and price may have changed since; what was learned has not.
    return None if known is None else replace(known, spec=spec, **_trained_on(spec, rows))


def fit_on(spec: Spec, rows: Rows | None, options: RunOptions = DEFAULTS, *, tracker: Tracker | None = None) -> Fitted:
    """Fits a spec, or takes what a run already fitted from the same spec, rows and seed.

    `options` say on what terms fitting asks (calibration, a search); without a `tracker` no earlier fit is looked for.
    """
    # Asked again means asked again: a calibration of an older model would be taken away from the new one's answers.
    again = options.fresh and spec.endpoint is not None
    known = None if tracker is None or again else known_fit(spec, rows, tracker)
    if known is not None:
        return known
    with no_autologging():
        fitted = options.asking_engine().drive(spec.fit(rows), spec.endpoint, options)
    return replace(fitted, **_trained_on(spec, rows))


def _trained_on(spec: Spec, rows: Rows | None) -> dict[str, Any]:
    """Training rows, and how many of them have each label or score, which a scored table is compared with."""
    kind = spec.task.kind
    if rows is None or not kind.counted:
        return {"train_labels": {}, "train_rows": 0}
    truths = [truth for truth in rows.labels if truth is not None]
    counts = Counter(part for truth in truths for part in set(kind.counted_in(truth)))
    return {"train_labels": {part: counts[part] for part in kind.counted}, "train_rows": len(truths)}


class FitSetup:
    """A spec and its training rows, checked: what fitting would cost, and the fit.

    Args:
        spec: the recipe.
        train: labelled rows; `None` is fine for a spec that needs none.

    Raises:
        SpecError: the spec cannot answer yet, or needs training rows and there are none.
        DataError: the table lacks a column or holds a wrong label.
    """

    def __init__(self, spec: Spec, train: pd.DataFrame | None) -> None:
        self.spec, self.train = spec, train
        self.rows = training_for([spec], train)[spec.name]

    def plan(self, options: RunOptions = DEFAULTS) -> Plan:
        """What fitting would send and cost; sends nothing."""
        return plan_fit(self.spec, self.rows, options)

    def fit(self, options: RunOptions = DEFAULTS, *, tracker: Tracker | None = None) -> Fitted:
        """The fit, with a report of what it sent and cost; without a `tracker` no earlier fit is looked for."""
        for endpoint in self.spec.all_endpoints:
            endpoint.key()
        asked = [] if self.rows is None else self.spec.first_requests(self.rows.take(()), self.rows)[0]
        with shown(options.progress, "fitting") as showing:
            ahead = ProgressForecast(showing, 0, fitting=len(asked), follow_ups=follow_ups_of(self.spec))
            options = replace(options, progress=ahead).for_command()
            return replace(fit_on(self.spec, self.rows, options, tracker=tracker), report=options.report)

    def fit_and_log(self, options: RunOptions = DEFAULTS, *, tracker: Tracker | None = None) -> tuple[Fitted, str]:
        """As `fit`, kept in a run whose id is returned too; what a run already holds is not fitted again."""
        tracker = tracker or MlflowTracker()
        fitted = self.fit(options, tracker=tracker)
        spec = self.spec
        with tracker.run(spec.task, f"fit {spec.name}", "fit", spec_tags(spec)) as run:
            run.log_fitted(fitted)
            run.log_spec(spec)
            run.log_spent(fitted.spent_usd)
            if self.train is not None and self.rows is not None:
                run.log_table(self.train, name="train", context="train", targets=spec.task.label)
            return fitted, run.run_id


def follow_ups_of(spec: Spec) -> Callable[[Answer], int] | None:
    """How many further requests an answer brings; `None` for techniques that ask once."""
    return spec.follow_ups if isinstance(spec, Prompt) else None

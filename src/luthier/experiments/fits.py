"""From a spec to something that answers: fitted on training rows, or taken from the run that already was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from luthier.engine.engine import Engine
from luthier.errors import SpecError
from luthier.spec import Fitted, Spec
from luthier.tasks.task import Rows
from luthier.techniques import FineTune
from luthier.tracking.runs import find_fitted, no_autologging

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["expected_digest", "fit_on", "training_for", "training_rows"]


def training_rows(spec: Spec, train: pd.DataFrame | None, source: str = "the training table") -> Rows | None:
    """The labelled rows a spec is fitted on, `None` if it needs none.

    Raises:
        SpecError: it cannot answer yet, or needs training rows and there are none.
        DataError: the table lacks a column or holds a wrong label.
    """
    return training_for([spec], train, source)[spec.name]


def training_for(
    specs: Sequence[Spec], train: pd.DataFrame | None, source: str = "the training table"
) -> dict[str, Rows | None]:
    """`training_rows` of several specs of one task, by name; the table is read once for all of them."""
    found: dict[str, Rows | None] = dict.fromkeys(spec.name for spec in specs)
    rows: Rows | None = None
    for spec in specs:
        if isinstance(spec, FineTune):
            spec.check_ready()
        if not spec.needs_training:
            continue
        if train is None:
            raise SpecError(f"spec {spec.name!r} ({spec.technique}) needs training rows; add --train TABLE (train=).")
        spec.check_columns(train.columns, source)
        if rows is None:
            rows = spec.task.rows(train, labelled=True, source=source)
        found[spec.name] = rows
    return found


def expected_digest(spec: Spec, rows: Rows | None) -> str:
    """The digest `spec` will have once it is fitted on `rows`; known before anything is paid."""
    return Fitted(spec=spec, train_digest=None if rows is None else rows.digest_of(spec.columns)).digest


def fit_on(
    spec: Spec, rows: Rows | None, engine: Engine, *, experiment_id: str | None = None, **settings: Any
) -> Fitted:
    """Fits a spec, or takes what a run of the experiment already fitted from the same spec, rows and seed.

    Args:
        spec: the recipe.
        rows: its training rows, from `training_rows`.
        engine: answers what fitting asks (calibration).
        experiment_id: where to look for an earlier fit; nowhere when absent.
        settings: budget, progress and the like, for the engine.
    """
    # Asked again means asked again: a calibration of an older model would be taken away from the new one's answers.
    again = bool(settings.get("fresh")) and spec.endpoint is not None
    if experiment_id is not None and rows is not None and not again:
        known = find_fitted(experiment_id, expected_digest(spec, rows))
        if known is not None:
            # Name and price may have changed since; what was learned has not.
            return replace(known, spec=spec)
    with no_autologging():
        fitted: Fitted = engine.drive(spec.fit(rows), spec.endpoint, **settings)
    return fitted

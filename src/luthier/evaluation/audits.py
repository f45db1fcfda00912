"""An audit: reported against measured over models, and for single jobs why they differ; plain records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.evaluation.agreement import (
    FEWEST_PAIRS,
    Agreement,
    PairedValues,
    RowCounts,
    agree,
    reading_order,
    row_counts,
)
from luthier.evaluation.decomposition import Attribution
from luthier.evaluation.resampling import Interval, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SCHEMA", "Audit", "audit_of_attributions", "audit_of_pairs"]

SCHEMA = 1
"""Version of the document."""


@dataclass(frozen=True)
class Audit:
    """What a service reported against what was measured.

    Attributes:
        source: what was audited: the name of a table, a job or a sweep.
        agreements: per metric over the models, the most telling metric first; empty for fewer than three models.
        rows: how many rows stand behind either side, where the numbers show it.
        attributions: per job why it differs; empty where only a table of numbers was given.
        notes: sentences a reader should know.
    """

    source: str
    agreements: tuple[Agreement, ...]
    rows: RowCounts | None = None
    attributions: tuple[Attribution, ...] = ()
    notes: tuple[str, ...] = ()

    def frame(self) -> pd.DataFrame:
        """One line per metric over the models: means, difference, limits, order, and what choosing by it loses."""
        import pandas as pd

        return pd.DataFrame([_line(agreement) for agreement in self.agreements])

    def pairs_frame(self) -> pd.DataFrame:
        """One line per model and metric: reported, measured, and their difference."""
        import pandas as pd

        lines = [
            (name, one.metric, said, found)
            for one in self.agreements
            for name, said, found in zip(one.pairs.ids, one.pairs.reported, one.pairs.measured, strict=True)
        ]
        if not self.agreements:
            lines = [
                (job.name, one.metric, one.reported, one.measured.value)
                for job in self.attributions
                for one in job.decompositions
            ]
        frame = pd.DataFrame(lines, columns=["id", "metric", "reported", "measured"])
        return frame.assign(difference=frame["reported"] - frame["measured"])

    def parts_frame(self) -> pd.DataFrame:
        """One line per job, metric and part of the difference, in the order of the chain."""
        import pandas as pd

        lines = [
            (job.name, one.metric, part.changes, part.share.value, part.share.low, part.share.high, part.p)
            for job in self.attributions
            for one in job.decompositions
            for part in one.parts
        ]
        return pd.DataFrame(lines, columns=["id", "metric", "changes", "share", "share_low", "share_high", "p"])

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values, none of them NaN; an interval is `[value, low, high]`."""
        document: dict[str, Any] = plain(self)
        return {"schema": SCHEMA, **document}


def audit_of_pairs(source: str, pairs: Sequence[PairedValues], notes: Sequence[str] = ()) -> Audit:
    """The audit of a table of numbers.

    Raises:
        DataError: there is no metric, or one has fewer than three pairs.
    """
    if not pairs:
        raise DataError("there are no pairs of reported and measured values to audit.")
    agreements = sorted((agree(one) for one in pairs), key=lambda a: reading_order(a.metric))
    rows = next(filter(None, (row_counts(a.pairs) for a in agreements)), None)
    return Audit(source, tuple(agreements), rows, notes=tuple(notes))


def audit_of_attributions(source: str, jobs: Sequence[Attribution], notes: Sequence[str] = ()) -> Audit:
    """The audit of jobs that were measured: why each differs and, from three jobs on, how well the numbers agree.

    Raises:
        DataError: there is no job, or two have one name.
    """
    if not jobs:
        raise DataError("there is no job to audit.")
    names = [job.name for job in jobs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"two jobs are called {', '.join(repeated)}; give each job once.")
    pairs = []
    for metric in dict.fromkeys(one.metric for job in jobs for one in job.decompositions):
        found = [(job.name, one) for job in jobs for one in job.decompositions if one.metric == metric]
        if len(found) >= FEWEST_PAIRS:
            pairs.append(
                PairedValues(
                    metric,
                    tuple(name for name, _ in found),
                    tuple(one.reported for _, one in found),
                    tuple(one.measured.value for _, one in found),
                )
            )
    agreements = sorted((agree(one) for one in pairs), key=lambda a: reading_order(a.metric))
    return Audit(source, tuple(agreements), None, tuple(jobs), tuple(notes))


def _line(agreement: Agreement) -> dict[str, Any]:
    line: dict[str, Any] = {
        "metric": agreement.metric,
        "pairs": len(agreement.pairs.ids),
        "reported": agreement.reported_mean,
        "measured": agreement.measured_mean,
    }
    for name in ("difference", "lower_limit", "upper_limit", "correlation", "concordance", "slope", "order"):
        found: Interval | None = getattr(agreement, name)
        for suffix in ("value", "low", "high"):
            key = name if suffix == "value" else f"{name}_{suffix}"
            line[key] = None if found is None else getattr(found, suffix)
    choice = agreement.choice
    return line | {
        "p": agreement.p,
        "slope_p": agreement.slope_p,
        "lost_by_choosing": choice.lost,
        "lost_by_chance": choice.lost_by_chance,
    }

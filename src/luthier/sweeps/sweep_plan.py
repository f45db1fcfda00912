"""What a sweep would buy and cost; before anything is sent."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from luthier.errors import BudgetReached, UserError
from luthier.providers.prices import dollars
from luthier.sweeps.trial import SweepObjective

__all__ = ["SweepPlan", "TrialPrice"]


@dataclass(frozen=True)
class TrialPrice:
    """What trials cost, judged by points that were drawn from the space. `None` is unknown, which is not 0.

    Attributes:
        low_usd: upper bound of the cheapest trial that was drawn.
        likely_usd: what a trial costs on average.
        high_usd: upper bound of the dearest.
        tokens: tokens that a job trains on average; `None` for specs that train at no service.
    """

    low_usd: float | None
    likely_usd: float | None
    high_usd: float | None
    tokens: int | None = None

    @classmethod
    def of(
        cls, likely: Sequence[float | None], high: Sequence[float | None], tokens: Sequence[int | None]
    ) -> TrialPrice:
        """The price of trials, from that of the drawn ones."""
        guesses, bounds = [one for one in likely if one is not None], [one for one in high if one is not None]
        known = [one for one in tokens if one is not None]
        return cls(
            low_usd=min(bounds) if len(bounds) == len(high) and bounds else None,
            likely_usd=fmean(guesses) if len(guesses) == len(likely) and guesses else None,
            high_usd=max(bounds) if len(bounds) == len(high) and bounds else None,
            tokens=round(fmean(known)) if known else None,
        )


@dataclass(frozen=True, repr=False)
class SweepPlan:
    """What a sweep would do; shows itself as `--dry-run` prints it.

    Attributes:
        name: of the sweep.
        spec: name of the spec.
        place: where its jobs are trained; `None` for a spec that trains at no service.
        objectives: what is searched for.
        sampler: draws the points.
        pruner: stops poor jobs early; `none` stops none.
        trials: most trials of the study, those of all machines together.
        known: trials of it that there are already.
        points: number of points in the space; `None` where it has no end.
        price: of a trial.
        winner_usd: most that measuring the winner on holdout rows costs.
        selection_rows: rows that trials are measured on.
        holdout_rows: rows that selection never sees.
        holdout_split: whether the holdout rows were split off the validation rows.
        concurrency: most trials at a time, here.
        spent_usd: what the study has cost so far.
        budget_usd: most that the study may cost.
        storage: where the study is.
    """

    name: str
    spec: str
    place: str | None
    objectives: tuple[SweepObjective, ...]
    sampler: str
    pruner: str
    trials: int
    known: int
    points: int | None
    price: TrialPrice
    winner_usd: float | None
    selection_rows: int
    holdout_rows: int
    holdout_split: bool
    concurrency: int
    spent_usd: float
    budget_usd: float | None
    storage: str

    @property
    def left(self) -> int:
        """Trials that are still to come."""
        return max(0, self.trials - self.known)

    @property
    def cost_usd(self) -> float | None:
        """What is likely still to be spent, were no trial stopped early; `None` when unknown."""
        one = self.price.likely_usd
        return None if one is None or self.winner_usd is None else one * self.left + self.winner_usd

    @property
    def cost_usd_high(self) -> float | None:
        """Upper bound of what is still to be spent, the budget aside; `None` when unknown."""
        one = self.price.high_usd
        return None if one is None or self.winner_usd is None else one * self.left + self.winner_usd

    def check_affordable(self) -> None:
        """Refuses a budget that does not reach for one trial, or that could not be held.

        Raises:
            BudgetReached: not even the cheapest trial fits.
            UserError: a price is not known.
        """
        if self.budget_usd is None or not self.left:
            return
        if self.price.low_usd is None or self.winner_usd is None:
            raise UserError(
                f"a budget was given, but what a trial of {self.spec} costs is not known. Put the prices into the "
                "endpoint: price: {input_usd_per_million: ..., output_usd_per_million: ..., "
                "training_usd_per_million: ...} (0 is a price), and set tuning.epochs, or sweep over it."
            )
        needed = self.spent_usd + self.price.low_usd + self.winner_usd
        if needed > self.budget_usd:
            spent = f"{dollars(self.spent_usd)} are spent, " if self.spent_usd else ""
            raise BudgetReached(
                f"{spent}the cheapest trial may cost {dollars(self.price.low_usd, up=True)} and measuring the winner "
                f"{dollars(self.winner_usd, up=True)}, more than the budget of {dollars(self.budget_usd)}. Nothing "
                "was sent. Raise --budget, narrow the space to cheaper settings, or give fewer rows."
            )

    def __str__(self) -> str:
        where = "" if self.place is None else f" at {self.place}"
        aims = ", ".join(f"{one.metric} ({one.direction})" for one in self.objectives)
        lines = [f"{self.name}: {self.spec}{where}, for {aims}; sampler {self.sampler}, early stopping {self.pruner}"]
        known = f", {self.known:,} of them done or under way" if self.known else ""
        points = "" if self.points is None else f" of {self.points:,} points"
        lines.append(f"{self.trials:,} trials{points}{known}, {self.concurrency:,} at a time; study in {self.storage}")
        split = ", split off the validation rows" if self.holdout_split else ""
        lines.append(
            f"{self.selection_rows:,} rows to choose by, {self.holdout_rows:,} holdout rows for the winner{split}"
        )
        if self.left:
            lines.append(self._price())
        return "\n".join(lines)

    __repr__ = __str__

    def _price(self) -> str:
        one, tokens = self.price, ""
        if one.tokens is not None:
            tokens = f", about {one.tokens:,} trained tokens each"
        if self.cost_usd is None:
            return f"price unknown{tokens}"
        if self.cost_usd_high == 0:
            return f"{dollars(0)}{tokens}"
        bound = "" if self.cost_usd_high is None else f", at most {dollars(self.cost_usd_high, up=True)}"
        each = "" if one.likely_usd is None else f" ({dollars(one.likely_usd)} a trial)"
        cap = "" if self.budget_usd is None else f"; the budget of {dollars(self.budget_usd)} is never exceeded"
        return f"about {dollars(self.cost_usd)}{each}{tokens}, if none is stopped early{bound}{cap}"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def to_document(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self) | {"left": self.left, "cost_usd": self.cost_usd, "cost_usd_high": self.cost_usd_high}

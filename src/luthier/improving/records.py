"""What a search for better prompts passes around: prompts proposed, prompts measured, and the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from luthier.evaluation.resampling import Interval
from luthier.providers.exchange import Answer, Request
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows
from luthier.techniques import Prompt

__all__ = ["MeasuredPrompt", "PromptSearch", "Proposal", "Proposer"]


@dataclass(frozen=True)
class Proposal:
    """A prompt that nothing is known of yet.

    Attributes:
        spec: the whole recipe; it differs from its parent in the wording or the examples only. Its name does not
            matter: the search gives every prompt a name of its own when it is first asked.
        parent: name of the spec it was made from.
        how: what made it and from what, as in `instructions rewritten from 12 wrong rows`.
    """

    spec: Prompt
    parent: str
    how: str


@dataclass(frozen=True)
class MeasuredPrompt:
    """A prompt and what it answered to some of the training rows.

    Attributes:
        spec: the recipe.
        parent: name of the spec it was made from; empty for the one the search began with.
        how: what made it; empty for the one the search began with.
        positions: the rows it was asked, as places in `PromptSearch.rows`.
        predictions: one per place.
        score: the metric it is chosen by, on those rows.
        cost_usd: what asking them cost, by the journal or now; `None` where a price is unknown.
    """

    spec: Prompt
    parent: str
    how: str
    positions: tuple[int, ...]
    predictions: tuple[Prediction, ...]
    score: Interval
    cost_usd: float | None


class PromptSearch(Protocol):
    """What a proposer may use; everything it asks goes through one engine, journal and budget."""

    start: Prompt
    """The prompt the search began with."""
    rows: Rows
    """Training rows that prompts are chosen on: all of `train`, or some."""
    train: Rows
    """All training rows: prompts that show examples are fitted on them, as the one that wins will be. A row that is
    itself an example is asked without it (`PromptAdapter.request`), so no row is scored on an answer it was shown."""
    seed: int
    """Of everything that is drawn."""

    @property
    def measured(self) -> Sequence[MeasuredPrompt]:
        """Everything measured so far, best first."""

    def ask_writer(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Answers of the model that writes instructions, one per request.

        Raises:
            BudgetReached: the budget does not reach; answers so far are in the journal.
            EndpointError: it cannot be asked.
        """

    def measure(self, proposals: Sequence[Proposal], positions: Sequence[int]) -> Sequence[MeasuredPrompt]:
        """Asks prompts about some training rows; what the journal has is not asked again.

        Raises:
            BudgetReached: the budget does not reach; answers so far are in the journal.
        """

    def note(self, said: str) -> None:
        """Has the report say this sentence, such as why an answer of the writer became no prompt; once, if repeated."""


class Proposer(Protocol):
    """A way to find better prompts."""

    name: ClassVar[str]
    """As `--by` names it: `rewrite`, `examples`, `gepa`."""
    needs_writer: ClassVar[bool]
    """Whether it asks a model that writes instructions; without one it cannot be used."""

    def propose(self, search: PromptSearch, count: int) -> Sequence[Proposal]:
        """At most `count` new prompts, none of them equal to one that was measured; none if it has no idea left.

        The same search, as far as it has come, gets the same proposals, so that a second run finds them in the journal.
        """

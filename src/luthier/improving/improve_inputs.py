"""What a search for a better prompt works on, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luthier.experiments.labelled_tables import LabelledTable
from luthier.improving.records import Proposer
from luthier.providers.endpoint import Endpoint
from luthier.tasks.task import Rows
from luthier.techniques import Prompt

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ImproveInputs"]


@dataclass(frozen=True)
class ImproveInputs:
    """A prompt, its rows, and how better ones are looked for.

    Attributes:
        spec: the prompt to begin with.
        train_table: the training table as it was given.
        train: all training rows.
        rows: those that prompts are chosen on.
        fresh: the validation table.
        metric: what prompts are chosen by.
        writer: the model that writes instructions, if there is one.
        proposers: what proposes prompts, in the order they are asked.
        rounds: rounds without a better prompt after which the search ends.
        seed: of everything that is drawn.
    """

    spec: Prompt
    train_table: pd.DataFrame
    train: Rows
    rows: Rows
    fresh: LabelledTable
    metric: str
    writer: Endpoint | None
    proposers: Sequence[Proposer]
    rounds: int
    seed: int

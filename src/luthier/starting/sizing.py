"""How much the embedded model is asked by default: as much as it answers within a minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CALIBRATION_ROWS", "Sizes", "sizes_for"]

CALIBRATION_ROWS = 20
"""Training rows the embedded model is calibrated on. A service, which answers many at once, gets 60."""

TOKENS_PER_SECOND = 400
"""What the embedded model reads on two cores."""

SECONDS = 45
"""What both prompts may take together; starting the model and the other specs need the rest of a minute."""

CHARACTERS_PER_TOKEN = 4.2
PROMPT_TOKENS = 31
EXAMPLE_TOKENS = 9
"""Tokens of a prompt, and of an example in it, beside the text."""

ZERO_SHOT_CALLS = 2.0
FEW_SHOT_CALLS = 1.1
"""Per row, as measured: some answers need one more token to tell the labels apart."""

FEWEST_ROWS, MOST_ROWS = 20, 100

LONGEST_TEXT = 400
"""Characters after which texts are cut for the embedded model, where more than a few are longer."""

FEW = 0.05

LONGEST_EXAMPLE = 120
"""Characters of an example, where the table has enough texts as short as that."""

PER_LABEL = 3
"""So many texts of each label are to be short enough to be shown."""


@dataclass(frozen=True)
class Sizes:
    """What fits into a minute of the embedded model.

    Attributes:
        rows: test rows to compare on.
        text_characters: where texts are cut; `None` where hardly one is longer.
        cut_share: share of the texts that are longer.
        example_characters: the longest text shown as an example.
    """

    rows: int
    text_characters: int | None
    cut_share: float
    example_characters: int

    def __str__(self) -> str:
        said = [
            "The embedded model is small and answers one call at a time. So that a comparison ends within about a "
            "minute on two cores,",
            f"  --limit {self.rows} takes {self.rows} of the test rows,",
            f"  examples are texts of at most {self.example_characters} characters (max_characters),",
            f"  {CALIBRATION_ROWS} training rows calibrate each prompt (calibration_rows)"
            + ("." if self.text_characters is None else ","),
        ]
        if self.text_characters is not None:
            said.append(
                f"  texts are cut after {self.text_characters} characters (truncate in the templates), which "
                f"{self.cut_share:.0%} of them are longer than."
            )
        return "\n".join([*said, "For a service, raise these or take them out."])


def sizes_for(texts: Sequence[object], labels: Sequence[object], examples: int) -> Sizes:
    """The sizes that suit a labelled table.

    Args:
        texts: those of the table.
        labels: theirs, in the same order.
        examples: how many are shown before a row.

    Examples:
        >>> sizes_for(["word " * 10] * 50, ["a", "b"] * 25, 4)
        Sizes(rows=60, text_characters=None, cut_share=0.0, example_characters=50)
    """
    lengths = [len(str(text)) for text in texts]
    longer = sum(length > LONGEST_TEXT for length in lengths) / max(1, len(lengths))
    cut = LONGEST_TEXT if longer > FEW else None
    by_label: dict[object, list[int]] = {}
    for length, label in zip(lengths, labels, strict=True):
        by_label.setdefault(label, []).append(length)
    # The shorter half of the texts, so that an example is an ordinary text and yet costs less than one.
    usual = min(LONGEST_EXAMPLE, sorted(lengths)[len(lengths) // 2] if lengths else 0)
    needed = max((sorted(own)[:PER_LABEL][-1] for own in by_label.values()), default=0)
    shown = -(-max(usual, min(needed, LONGEST_TEXT), 20) // 10) * 10
    read = [min(length, cut) if cut else length for length in lengths]
    text = sum(read) / max(1, len(read)) / CHARACTERS_PER_TOKEN
    example = EXAMPLE_TOKENS + 0.7 * min(shown, cut or shown) / CHARACTERS_PER_TOKEN
    per_row = ZERO_SHOT_CALLS * (PROMPT_TOKENS + text)
    per_row += FEW_SHOT_CALLS * (PROMPT_TOKENS + text + examples * example)
    rows = int(SECONDS * TOKENS_PER_SECOND / per_row) - CALIBRATION_ROWS
    return Sizes(max(FEWEST_ROWS, min(MOST_ROWS, rows // 10 * 10)), cut, longer, shown)

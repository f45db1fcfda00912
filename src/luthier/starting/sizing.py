"""How much the embedded model is asked by default: as much as it answers within a minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CALIBRATION_ROWS", "Sizes", "sizes_for"]

CALIBRATION_ROWS = 20
"""Training rows that calibrate a prompt to the embedded model. A service answers many at once and gets 60."""

TOKENS_PER_SECOND = 400
"""What the embedded model reads on two cores."""

TOKENS_WRITTEN_PER_SECOND = 20
"""What it writes meanwhile, held to a JSON schema."""

SECONDS = 45
"""What both prompts may take together; starting the model and the other specs need the rest of the minute."""

CHARACTERS_PER_TOKEN = 4.2
PROMPT_TOKENS = 31
EXAMPLE_TOKENS = 9
"""Tokens of a prompt, and of an example in it, besides the text."""

ZERO_SHOT_CALLS = 2.0
FEW_SHOT_CALLS = 1.1
"""Calls per row, as measured: some answers need one more token to tell the labels apart."""

FEWEST_ROWS, MOST_ROWS = 20, 100
FEWEST_WRITTEN = 10
"""Rows at the least where answers are written out, which takes longer than comparing probabilities."""

FEWEST_TOKENS = 32
"""Room for an answer that is written out, at the least."""

LONGEST_TEXT = 400
"""Characters after which texts are cut, if more than `FEW` of them are longer."""

FEW = 0.05

LONGEST_EXAMPLE = 120
"""Characters of an example, if `PER_LABEL` texts of each label are as short as that."""

PER_LABEL = 3


@dataclass(frozen=True)
class Sizes:
    """What the embedded model answers within a minute.

    Attributes:
        rows: test rows to compare on.
        text_characters: where texts are cut; `None` where few are longer.
        cut_share: share of the texts that are longer.
        example_characters: length of the longest example.
        is_calibrated: whether prompts are calibrated to the words of their labels.
        answer_tokens: room for the longest answer of the table, where answers are written out: a small model that is
            held to a schema often fills all the room it has.
    """

    rows: int
    text_characters: int | None
    cut_share: float
    example_characters: int
    is_calibrated: bool = True
    answer_tokens: int | None = None

    def __str__(self) -> str:
        cut = (
            f",\n  texts are cut after {self.text_characters} characters (truncate in the templates); "
            f"{self.cut_share:.0%} of them are longer"
        )
        calibrated = f",\n  {CALIBRATION_ROWS} training rows calibrate each prompt (calibration_rows)"
        written = f",\n  answers are cut after {self.answer_tokens} tokens (max_tokens)"
        return (
            "The embedded model is small and answers one call at a time. So that a comparison ends within about a "
            "minute on two cores,\n"
            f"  --limit {self.rows} takes {self.rows} of the test rows,\n"
            f"  examples are texts of at most {self.example_characters} characters (max_characters)"
            f"{calibrated if self.is_calibrated else ''}"
            f"{'' if self.answer_tokens is None else written}"
            f"{'' if self.text_characters is None else cut}.\nFor a service, raise these or remove them."
        )


def sizes_for(
    texts: Sequence[object], labels: Sequence[object], examples: int, answers: Sequence[str] | None = None
) -> Sizes:
    """The sizes that suit a labelled table.

    Args:
        texts: those of the table.
        labels: theirs, in the same order.
        examples: number of examples in front of a row.
        answers: what a model has to write for each, in the same order; absent where labels are compared by probability.

    Examples:
        >>> sizes = sizes_for(["word " * 10] * 50, ["a", "b"] * 25, 4)
        >>> sizes.rows, sizes.text_characters, sizes.example_characters
        (60, None, 50)
        >>> sizes_for(["word " * 10] * 50, [""] * 50, 4, ['{"price": 12.5}'] * 50).rows
        50
    """
    lengths = [len(str(text)) for text in texts]
    longer = sum(length > LONGEST_TEXT for length in lengths) / max(1, len(lengths))
    cut = LONGEST_TEXT if longer > FEW else None
    by_label: dict[object, list[int]] = {}
    for length, label in zip(lengths, labels, strict=True):
        by_label.setdefault(label, []).append(length)
    # The shorter half of the texts: ordinary examples that cost less than an average row.
    usual = min(LONGEST_EXAMPLE, sorted(lengths)[len(lengths) // 2] if lengths else 0)
    needed = max((sorted(own)[:PER_LABEL][-1] for own in by_label.values()), default=0)
    shown = -(-max(usual, min(needed, LONGEST_TEXT), 20) // 10) * 10
    text = sum(min(length, cut or length) for length in lengths) / max(1, len(lengths)) / CHARACTERS_PER_TOKEN
    example = EXAMPLE_TOKENS + 0.7 * min(shown, cut or shown) / CHARACTERS_PER_TOKEN
    if answers is not None:
        written = sum(map(len, answers)) / max(1, len(answers)) / CHARACTERS_PER_TOKEN
        longest = max(FEWEST_TOKENS, int(max(map(len, answers), default=0) / CHARACTERS_PER_TOKEN * 1.5))
        seconds = (2 * (PROMPT_TOKENS + text) + examples * (example + written)) / TOKENS_PER_SECOND
        rows = int(SECONDS / (seconds + 2 * written / TOKENS_WRITTEN_PER_SECOND))
        return Sizes(max(FEWEST_WRITTEN, min(MOST_ROWS, rows // 10 * 10)), cut, longer, shown, False, longest)
    per_row = ZERO_SHOT_CALLS * (PROMPT_TOKENS + text)
    per_row += FEW_SHOT_CALLS * (PROMPT_TOKENS + text + examples * example)
    rows = int(SECONDS * TOKENS_PER_SECOND / per_row) - CALIBRATION_ROWS
    return Sizes(max(FEWEST_ROWS, min(MOST_ROWS, rows // 10 * 10)), cut, longer, shown)

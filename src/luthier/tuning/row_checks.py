"""Rows that spoil a measurement: a text on both sides of it, a text with two labels, a label without rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt

from luthier.tasks.spellings import same_text
from luthier.tasks.task import Rows, Task
from luthier.tuning.preflight_findings import PreflightFinding, excerpts, truth_key
from luthier.tuning.training_files import count_parts

__all__ = ["near_duplicates", "row_findings", "without_leaks"]

HELD_OUT = (("train", "validation"), ("train", "test"), ("validation", "test"))
"""Pairs of tables that must not share a text; rows are dropped from the first of a pair."""

ENOUGH_TO_CHOOSE = 200
"""Validation rows from which on the 95% interval of an accuracy is at most about .07 wide on either side."""

RARE = 10
"""Training rows below which a label is hardly learned."""

MOST_NAMED = 12
"""Labels that a message lists."""

RUN_WORDS = 5
LEAST_WORDS = 10
ALIKE = 0.5
"""Jaccard similarity of the runs of five words from which on two texts are nearly the same: half of all runs are
shared, as after changing one word in a dozen."""

COMMON_RUN_ROWS = 50
"""Runs of words in more rows than this are boilerplate, and are not counted as shared."""

WORD = re.compile(r"\w+")

Tables = Mapping[str, Rows]


def row_findings(task: Task, columns: Sequence[str], tables: Tables) -> list[PreflightFinding]:
    """What to know of these rows before paying for training on them.

    Args:
        task: the question.
        columns: those the spec reads.
        tables: labelled rows by `train`, and perhaps `validation` and `test`.
    """
    return [
        *_leaks(tables),
        *_near_leaks(tables),
        *_parts(task, tables),
        *_repeats(task, tables["train"], columns),
        *_too_small(task, tables),
    ]


def without_leaks(tables: Tables) -> dict[str, list[int]]:
    """Positions to keep of each table so that no text stands in two; rows are kept in the table that measures later."""
    gone: dict[str, set[int]] = {name: set() for name in tables}
    for first, second in HELD_OUT:
        gone.setdefault(first, set()).update(position for position, _ in _leaked(tables, first, second))
    return {name: [i for i in range(len(rows)) if i not in gone[name]] for name, rows in tables.items()}


def near_duplicates(first: Rows, second: Rows) -> list[tuple[int, int, float]]:
    """For each row of `second` the most similar row of `first`, where they are nearly but not exactly the same.

    Compared are the runs of five words, by their Jaccard similarity. The runs they share are counted with one sparse
    matrix product, so that the work grows with the rows and not with the pairs of rows.

    Returns:
        Position in `first`, position in `second`, and similarity, at least .5.
    """
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    theirs, ours = list(_texts(first)), list(_texts(second))
    counter = CountVectorizer(analyzer=_runs, binary=True)
    if not any(_runs(text) for _, text in ours):
        return []
    here = counter.fit_transform(text for _, text in ours)
    there = counter.transform(text for _, text in theirs)
    telling = np.asarray(there.sum(axis=0)).ravel() <= COMMON_RUN_ROWS
    sizes = np.asarray(here.sum(axis=1)).ravel()
    shared = (here[:, telling] @ there[:, telling].T).tocoo()
    best: dict[int, tuple[float, int]] = {}
    for ours_at, theirs_at, count in zip(shared.row, shared.col, shared.data, strict=True):
        (place, text), (other, their_text) = ours[ours_at], theirs[theirs_at]
        # The union has at least the runs of the one text, so that fewer shared ones cannot be half of it.
        if count >= ALIKE * sizes[ours_at] and text != their_text:
            alike = count / len(_runs(text) | _runs(their_text))
            best[place] = max(best.get(place, (0.0, -1)), (float(alike), other))
    return [(other, place, alike) for place, (alike, other) in sorted(best.items()) if alike >= ALIKE]


def _leaked(tables: Tables, first: str, second: str) -> list[tuple[int, int]]:
    """Positions in `first` whose text stands in `second` too, each with a position there."""
    if first not in tables or second not in tables:
        return []
    there: dict[str, int] = {}
    for position, text in _texts(tables[second]):
        there.setdefault(text, position)
    return [(position, there[text]) for position, text in _texts(tables[first]) if text in there]


def _leaks(tables: Tables) -> Iterator[PreflightFinding]:
    for first, second in HELD_OUT:
        pairs = _leaked(tables, first, second)
        if not pairs:
            continue
        there = len({tables[second].texts[other] for _, other in pairs})
        harm = "so the figures measured on them would be too good"
        if first != "train":
            harm = "so the model would be chosen by rows it is then tested on"
        yield PreflightFinding(
            f"leak_{first}_{second}",
            True,
            f"{len(pairs):,} {first} rows have a text of the {second} table ({there:,} of its "
            f"{len(tables[second]):,} rows), {harm}.",
            f"Add --drop-leaked to leave them out of the {first} table, or correct the tables.",
            tuple(
                excerpt
                for here, other in pairs[:3]
                for excerpt in (*excerpts(first, tables[first], [here]), *excerpts(second, tables[second], [other]))
            ),
        )


def _near_leaks(tables: Tables) -> Iterator[PreflightFinding]:
    for first, second in HELD_OUT:
        pairs = near_duplicates(tables[first], tables[second]) if first in tables and second in tables else []
        if not pairs:
            continue
        here, other, share = max(pairs, key=lambda pair: pair[2])
        yield PreflightFinding(
            f"near_leak_{first}_{second}",
            False,
            f"{len(pairs):,} {second} rows are nearly the same as a {first} row, up to {share:.0%} alike.",
            "Look at them; figures on such rows are too good.",
            (*excerpts(first, tables[first], [here]), *excerpts(second, tables[second], [other])),
        )


def _parts(task: Task, tables: Tables) -> Iterator[PreflightFinding]:
    counted, part = {name: count_parts(rows, task.kind) for name, rows in tables.items()}, task.kind.part_name
    missing = [label for label, rows in counted["train"].items() if not rows]
    if missing:
        named = f"{part} {missing[0]}" if len(missing) == 1 else f"{part}s {_named(missing)}"
        yield PreflightFinding(
            "label_missing",
            True,
            f"no training row has {named}, so a tuned model never answers it.",
            f"Give rows that have it, or take it out of {'`labels:` in ' if part == 'label' else ''}the task.",
        )
    rare = [f"{label} ({rows})" for label, rows in counted["train"].items() if 0 < rows < RARE]
    if rare:
        yield PreflightFinding(
            "label_rare", False, f"fewer than {RARE} training rows have {part} {_named(rare)}; it is hardly learned."
        )
    for name in ("validation", "test"):
        absent = [label for label, rows in counted.get(name, {}).items() if not rows]
        if absent:
            yield PreflightFinding(
                "label_missing_held_out",
                False,
                f"no {name} row has {part} {_named(absent)}; whether it is learned cannot be seen there.",
            )


def _named(parts: Sequence[str]) -> str:
    more = f" and {len(parts) - MOST_NAMED:,} more" if len(parts) > MOST_NAMED else ""
    return ", ".join(parts[:MOST_NAMED]) + more


def _repeats(task: Task, train: Rows, columns: Sequence[str]) -> Iterator[PreflightFinding]:
    alike: dict[tuple[str, ...], list[int]] = {}
    for position, _ in _texts(train):
        read = tuple(same_text(train.inputs[position].get(column)) for column in columns)
        alike.setdefault(read, []).append(position)
    groups = [positions for positions in alike.values() if len(positions) > 1]
    truths = {i: truth_key(train.labels[i]) for positions in groups for i in positions}
    torn = [positions for positions in groups if len({truths[i] for i in positions}) > 1]
    value = task.kind.value_name
    if torn:
        first_of_label = {truths[i]: i for i in reversed(torn[0])}
        whose = "under different labels" if task.labels else f"in several rows whose {value} differs"
        yield PreflightFinding(
            "contradictions",
            False,
            f"{len(torn):,} training texts stand {whose} ({sum(map(len, torn)):,} rows); no model can learn both.",
            "Correct them or leave them out.",
            excerpts("train", train, sorted(first_of_label.values())),
        )
    again = [positions for positions in groups if positions not in torn]
    if again:
        yield PreflightFinding(
            "duplicates",
            False,
            f"{sum(len(positions) - 1 for positions in again):,} training rows repeat another with the same {value}; "
            "each is paid for and weighs double.",
            rows=excerpts("train", train, again[0][:2]),
        )


def _too_small(task: Task, tables: Tables) -> Iterator[PreflightFinding]:
    if "validation" not in tables:
        yield PreflightFinding(
            "no_validation",
            False,
            "no validation rows, so the service reports no validation loss, and settings cannot be chosen by one.",
            "Add --validation TABLE.",
        )
        return
    rows = sum(1 for _ in _texts(tables["validation"]))
    if 0 < rows < ENOUGH_TO_CHOOSE:
        yield PreflightFinding(
            "validation_small",
            False,
            f"with {rows} validation rows {'an accuracy' if task.labels else 'a share of right answers'} is known to "
            f"about {0.98 / sqrt(rows):.2f} on either side; where epochs or settings differ by less, the choice among "
            "them is chance.",
        )


def _texts(rows: Rows) -> Iterator[tuple[int, str]]:
    """Positions of the rows with a text, and the text without differences of case and white space."""
    for position, text in enumerate(rows.texts):
        if text is not None:
            yield position, same_text(text)


def _runs(text: str) -> set[str]:
    """Every run of five words of a text of at least ten."""
    words = WORD.findall(text)
    if len(words) < LEAST_WORDS:
        return set()
    return {" ".join(words[i : i + RUN_WORDS]) for i in range(len(words) - RUN_WORDS + 1)}

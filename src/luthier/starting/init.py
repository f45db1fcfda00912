"""`init`: writes a task and specs for a labelled table, and splits the table in three."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError
from luthier.starting.by_type import are_structured
from luthier.starting.columns import guess_columns
from luthier.starting.guessing import Guess, guess_task
from luthier.starting.sizing import Sizes, sizes_for
from luthier.starting.spec_files import EMBEDDED, asks_embedded, example_count, write_specs
from luthier.tables import how_saved, is_standard, read_table, write_frame
from luthier.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["InitReport", "sizes_of", "init_from_table"]

MOST_SHOWN, MOST_BARS = 50, 20
"""With more labels than the first number only so many, the most frequent, are shown."""

SPLIT = ("train", "validation", "test")


@dataclass(frozen=True)
class InitReport:
    """What was guessed and written.

    Attributes:
        guess: the task and the reasons for it.
        specs: the files written for it.
        tables: train, validation and test table, where the table was split.
        data: the table.
        notes: how the table was saved, which columns were guessed, and what was kept.
        sizes: what the embedded model is asked; `None` where a service answers.
    """

    guess: Guess
    specs: tuple[Path, ...]
    tables: tuple[Path, ...]
    data: Path
    notes: tuple[str, ...]
    sizes: Sizes | None

    @property
    def found(self) -> str:
        """What was guessed and written."""
        task = self.guess.task
        read = " and ".join(map(repr, task.text_columns))
        lines = [
            *self.notes,
            f"task {task.name!r}: {task.type}, reads {read}, answers {task.label!r}",
            *_bars(self.guess.counts),
            *(f"  ({reason})" for reason in self.guess.reasons),
            "written: " + ", ".join(map(str, [*self.specs, *self.tables])),
        ]
        return "\n".join(lines)

    def __str__(self) -> str:
        folder = self.specs[0].parent
        train, _, test = map(str, self.tables) if self.tables else ("TRAIN_TABLE", "", "TEST_TABLE")
        lines = [
            self.found,
            "Look the files over; what is wrong is corrected in task.yaml. Then:",
            f"  luthier check {folder}",
            f"  luthier compare {folder} --test {test} --train {train}"
            + ("" if self.sizes is None else f" --limit {self.sizes.rows}\n{self.sizes}"),
        ]
        if not self.tables:
            lines.append(f"(luthier init ... --split cuts {self.data} into such tables.)")
        return "\n".join(lines)


def _bars(counts: Mapping[str, int]) -> list[str]:
    """A line per entry, as long as it is frequent; of very many the most frequent."""
    shown = dict(sorted(counts.items(), key=lambda one: -one[1])[:MOST_BARS]) if len(counts) > MOST_SHOWN else counts
    width, most = max(map(len, shown), default=0), max(shown.values(), default=0) or 1
    lines = [f"  {name:<{width}} {n:>8,}  {'█' * round(24 * n / most)}" for name, n in shown.items()]
    rest = len(counts) - len(shown)
    if not rest:
        return lines
    fewest, most = min(counts.values()), min(shown.values())
    return [*lines, f"  and {rest:,} more, {f'{fewest:,} to ' if fewest < most else ''}{most:,} each"]


def init_from_table(
    data: Path,
    *,
    text: str | None = None,
    label: str | None = None,
    name: str | None = None,
    labels: list[str] | None = None,
    type_name: str | None = None,
    folder: Path = Path("models"),
    overrides: Mapping[str, Any] | None = None,
    split: bool = False,
    replace: bool = False,
) -> InitReport:
    """Guesses the task of a labelled table and writes it with specs; see `guess_task` and `write_specs`.

    The text and the label column are guessed where they are not given (`guess_columns`).

    Raises:
        DataError: the table cannot be read, holds no labels, or files are already there.
    """
    frame = read_table(data)
    saved = how_saved(data)
    text, label, reasons = guess_columns(frame, text, label, type_name)
    notes = [f"{data}: {saved}", *reasons] if saved else list(reasons)
    guess = guess_task(frame, text=text, label=label, name=name, labels=labels, type_name=type_name)
    parts = guess.task.split(frame) if split else ()
    # A csv has no lists and objects.
    ending = "jsonl" if any(are_structured(frame[name].tolist(), in_json=False) for name in frame.columns) else "csv"
    targets, kept = split_targets(data, frame, replace=replace, ending=ending) if split else ([], "")
    sizes = sizes_of(frame, guess.task) if asks_embedded(overrides) else None
    specs = write_specs(guess.task, folder, overrides=overrides, replace=replace, sizes=sizes)
    for target, part in zip(targets, parts, strict=False):
        write_frame(part, target)
    notes += [kept] if kept else []
    embedding = [spec.stem for spec in specs if "technique: embedding" in spec.read_text(encoding="utf-8")]
    if overrides is not None and "embedding" not in overrides and embedding:
        notes.append(
            f"{' and '.join(embedding)} {'asks' if len(embedding) == 1 else 'ask'} the embedded server, "
            f"{EMBEDDED['model']}: the endpoint file has no `embedding:` block with a model that embeds."
        )
    return InitReport(guess, tuple(specs), tuple(targets), data, tuple(notes), sizes)


def split_targets(data: Path, frame: pd.DataFrame, *, replace: bool, ending: str = "csv") -> tuple[list[Path], str]:
    """Where the parts of a table go, and a note where they do not get the usual names.

    Files with rows that are not in this table are the split of another table and are never written over.

    Args:
        data: the table's file.
        frame: the table.
        replace: whether the parts of an earlier split of this table are written over.
        ending: of the files, which says how they are written.

    Raises:
        DataError: such parts are there and are to be kept.
    """
    stem = "stdin" if is_standard(data) else data.name.split(".")[0]
    rows = _row_set(frame)
    others: list[Path] = []
    for prefix in ("", f"{stem}-"):
        targets = [data.parent / f"{prefix}{part}.{ending}" for part in SPLIT]
        there = [path for path in targets if path.exists()]
        if any(path.resolve() == data.resolve() or not _holds_rows_of(path, rows) for path in there):
            others = others or there
            continue
        if there and not replace:
            raise DataError(
                f"{_listed(there)} already there, from this table; --force writes over them, and without --split they "
                "are kept."
            )
        if not others:
            return targets, ""
        kept = f"kept, as they hold another table: {_listed(others)}"
        return targets, f"{kept}; the parts of {data} go to {_listed(targets)}"
    raise DataError(f"{_listed(there)} already there, with rows of another table; move them, or leave --split out.")


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


def _holds_rows_of(path: Path, rows: set[tuple[str, ...]]) -> bool:
    try:
        return _row_set(read_table(path)) <= rows
    except DataError:
        # Not a table, so not a part that Luthier wrote.
        return False


def _row_set(frame: pd.DataFrame) -> set[tuple[str, ...]]:
    """The rows of a table as they come back from a csv, cells as text, with the names of its columns as one more."""
    names = tuple(sorted(map(str, frame.columns)))
    cells = frame[list(names)].astype(object).where(frame[list(names)].notna(), "")
    return {names, *(tuple(map(str, row)) for row in cells.itertuples(index=False, name=None))}


def sizes_of(frame: pd.DataFrame, task: Task) -> Sizes:
    """How much of a labelled table the embedded model is asked by default."""
    rows = task.rows(frame)
    known = [(text, label) for text, label in zip(rows.texts, rows.labels, strict=True) if None not in (text, label)]
    # Truths that are no labels all count as one: any short text may be an example.
    labels = [label if task.labels else "" for _, label in known]
    methods = {one.settings.get("answer", {}).get("method") for one in task.kind.starting_specs()}
    answers = [task.kind.as_answer(label, as_json="json" in methods) for _, label in known]
    written = answers if "score" not in methods else None
    return sizes_for([text for text, _ in known], labels, example_count(task), written)

"""Which training rows a prompt shows as examples, searches among, and calibrates on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from luthier.errors import DataError
from luthier.tasks.spellings import same_text
from luthier.tasks.task import Rows
from luthier.techniques.prompt.adapter import adapter_for
from luthier.techniques.prompt.recipe import PromptRecipe
from luthier.techniques.prompt.template import UnrenderedRow
from luthier.techniques.training_rows import calibration_rows, distinct

__all__ = [
    "ExampleSearch",
    "RowSplit",
    "Sample",
    "choose_examples",
    "draw_examples",
    "draw_search",
    "example_pool",
    "split_rows",
]

TRIES = 20
"""Draws per wanted sample, before the search gives up on finding enough different ones."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One draw of `count` examples; `positions` are the training rows it shows, in order."""

    count: int
    seed: int
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ExampleSearch:
    """Different samples, and positions of the rows they are scored on, in random order; no sample shows one of those.

    Fixed by the seed, so that a search resumes from the journal.
    """

    samples: tuple[Sample, ...]
    judged: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RowSplit:
    """Positions of training rows by purpose; no row serves two."""

    calibration: Sequence[int] = ()
    examples: Sequence[int] = ()
    """Shown to every row, in this order."""
    pool: Sequence[int] = ()
    """The nearest examples are taken from these."""
    search: ExampleSearch | None = None


def split_rows(spec: PromptRecipe, rows: Rows, *, calibrate: bool = True) -> RowSplit:
    """Divides the training rows by purpose; the same rows and seed are always divided alike.

    Raises:
        DataError: there are too few, or the template cannot be filled with an example.
    """
    select = spec.prompt.examples.select
    count = spec.answer.calibration_rows if calibrate else 0
    if select in ("balanced", "random"):
        shown = choose_examples(spec, rows)
        # An example that the template fails on is found here, before anything is paid.
        adapter_for(spec, {"examples": spec.kept(rows, shown)})
        return RowSplit(calibration_rows(spec, rows, count, shown) if count else (), examples=shown)
    # Set apart first: which rows become examples is known only after requests were paid for.
    held = calibration_rows(spec, rows, count) if count else []
    # `texts` goes through all rows each time it is read.
    texts = rows.texts
    taken = {same_text(texts[position]) for position in held}
    left = [position for position in distinct(rows, labelled=True) if same_text(texts[position]) not in taken]
    if select == "nearest":
        return RowSplit(held, pool=_showable(spec, rows, _short_enough(spec, rows, left)))
    drawn = draw_search(spec, rows, left)
    for sample in drawn.samples:
        adapter_for(spec, {"examples": spec.kept(rows, sample.positions)})
    return RowSplit(held, search=drawn)


def choose_examples(spec: PromptRecipe, rows: Rows) -> list[int]:
    """Positions of the training rows to show, in the order they are shown.

    Their texts are different, not blank, and each has one label only in the training rows.

    Raises:
        DataError: there are not enough such rows.
    """
    most = spec.prompt.examples.most
    pool = example_pool(spec, rows)
    if most > len(pool):
        raise _too_few(spec, f"shows {most} examples, but the training rows hold", len(pool))
    return draw_examples(spec, rows, pool, most, spec.examples_seed)


def example_pool(spec: PromptRecipe, rows: Rows) -> list[int]:
    """Positions of the training rows that may be shown: of texts that differ and have one label, short enough ones."""
    return _short_enough(spec, rows, distinct(rows, labelled=True))


def draw_search(spec: PromptRecipe, rows: Rows, pool: Sequence[int]) -> ExampleSearch:
    """Draws the rows to score on, and from the others the samples: balanced, with the counts taken in turn.

    `pool` has positions of labelled rows with different texts, without those used for calibration.

    Raises:
        DataError: there are too few rows, or too few different samples.
    """
    settings, own = spec.prompt.examples, spec.examples_seed
    if len(pool) < settings.rows + settings.most:
        raise DataError(
            f"spec {spec.name!r} judges its samples on {settings.rows} training rows and shows up to {settings.most} "
            f"others, {settings.rows + settings.most} in all, but the training rows hold only {len(pool)} different "
            "labelled texts (beside calibration rows). Lower prompt.examples.rows or count, or give more rows with "
            "--train."
        )
    mixed = list(pool)
    random.Random(f"search/{own}").shuffle(mixed)
    judged, left = mixed[: settings.rows], _short_enough(spec, rows, sorted(mixed[settings.rows :]))
    if len(left) < settings.most:
        wanted = f"shows up to {settings.most} examples, but the rows it does not judge on hold"
        raise _too_few(spec, wanted, len(left), "prompt.examples.rows or count")
    samples: dict[tuple[int, ...], Sample] = {}
    for turn in range(TRIES * settings.samples):
        if len(samples) == settings.samples:
            break
        # A draw equal to an earlier one is replaced by another of the same count.
        count = settings.counts[len(samples) % len(settings.counts)]
        positions = tuple(draw_examples(spec, rows, left, count, own + turn))
        samples.setdefault(positions, Sample(count, own + turn, positions))
    if len(samples) < settings.samples:
        raise DataError(
            f"spec {spec.name!r} tries {settings.samples} samples, but of the {len(left)} training rows left beside "
            f"those it judges on only {len(samples)} different ones were drawn. Lower prompt.examples.samples or rows, "
            "or give more rows with --train."
        )
    return ExampleSearch(tuple(samples.values()), tuple(judged))


def draw_examples(spec: PromptRecipe, rows: Rows, pool: Sequence[int], count: int, seed: int) -> list[int]:
    """`count` positions of `pool`, in the order they are shown.

    Labels, or what else the task's type divides rows by, are taken in turn as long as they have rows in the pool,
    unless the spec draws at random.
    """
    drawn = random.Random(f"examples/{seed}")
    left = list(pool)
    drawn.shuffle(left)
    strata = _strata(spec, rows, left)
    if spec.prompt.examples.select == "random" or strata is None:
        return left[:count]
    waiting: dict[int, list[int]] = {stratum: [] for stratum in sorted(set(strata.values()))}
    for i in left:
        waiting[strata[i]].append(i)
    turn = list(waiting)
    # Where the count is no multiple of the labels, the draw decides which labels are shown once more.
    drawn.shuffle(turn)
    chosen: list[int] = []
    while len(chosen) < count:
        for stratum in turn:
            if waiting[stratum] and len(chosen) < count:
                chosen.append(waiting[stratum].pop())
    # In the order of labels, the label shown last would be favoured.
    drawn.shuffle(chosen)
    return chosen


def _strata(spec: PromptRecipe, rows: Rows, positions: Sequence[int]) -> dict[int, int] | None:
    """The stratum of each position, such as its label; `None` where the type divides rows by nothing."""
    found = spec.task.kind.strata([rows.labels[position] for position in positions])
    divides = bool(spec.task.labels) or len(set(found)) > 1
    return dict(zip(positions, found, strict=True)) if divides else None


def _short_enough(spec: PromptRecipe, rows: Rows, positions: Sequence[int]) -> list[int]:
    """The positions of texts of at most `max_characters`; of a label that has only longer ones, the shortest.

    Without that text the label would have no example, and models favour the labels they are shown.
    """
    most = spec.prompt.examples.max_characters
    if most is None:
        return list(positions)
    texts = rows.texts
    length = {position: len(str(texts[position])) for position in positions}
    shortest: dict[int, int] = {}
    strata = _strata(spec, rows, positions) or {}
    for position in sorted(strata, key=length.__getitem__):
        shortest.setdefault(strata[position], position)
    kept = set(shortest.values())
    return [position for position in positions if length[position] <= most or position in kept]


def _showable(spec: PromptRecipe, rows: Rows, positions: Sequence[int]) -> list[int]:
    """The positions of rows that the template can be filled with: one odd row must not stop the fit."""
    adapter = adapter_for(spec, {})
    count = spec.prompt.examples.most
    kept: list[int] = []
    why = ""
    for position, example in zip(positions, spec.kept(rows, positions), strict=True):
        try:
            adapter.example(example["inputs"], example["label"])
            kept.append(position)
        except UnrenderedRow as fault:
            why = why or f" that the template can be filled with ({fault})"
    if len(kept) < count:
        raise _too_few(spec, f"shows the {count} nearest examples, but the training rows hold", len(kept), of_kind=why)
    return kept


def _too_few(
    spec: PromptRecipe, wanted: str, found: int, lower: str = "prompt.examples.count", of_kind: str = ""
) -> DataError:
    most = spec.prompt.examples.max_characters
    or_raise = "" if most is None else " or raise prompt.examples.max_characters"
    if most is not None:
        of_kind = f" of at most {most:,} characters (or the shortest of their label){of_kind}"
    return DataError(
        f"spec {spec.name!r} {wanted} only {found} different labelled texts{of_kind}. Lower {lower}{or_raise}, or "
        "give more rows with --train."
    )

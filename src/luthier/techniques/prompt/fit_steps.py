"""The steps of fitting a prompt: dividing the training rows, choosing examples, and answering with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError, SpecError
from luthier.providers.exchange import Conversation
from luthier.spec import Fitted
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows
from luthier.techniques.conversations import gather
from luthier.techniques.prompt.example_search import ExampleSearch, draw_search, search_examples
from luthier.techniques.prompt.few_shot import (
    calibration_rows,
    choose_examples,
    distinct,
    of_length,
    or_raise,
    same_text,
    short_enough,
)
from luthier.techniques.prompt.nearest import Nearest, embed_pool
from luthier.techniques.prompt.recipe import PromptRecipe
from luthier.techniques.prompt.template import UnrenderedRow

if TYPE_CHECKING:
    from luthier.evaluation.racing import Block

__all__ = ["RowSplit", "answer_rows", "fit_examples", "nearest_of", "split_rows", "training_rows"]

VECTORS = "vectors"
"""Name of the pool's vectors among a fitted prompt's arrays."""

CALIBRATION_CURE = (
    "Set answer.calibration_rows: 0, or use an endpoint and a prompt that give log-probabilities for the labels; "
    "`luthier check` tries one row."
)


@dataclass(frozen=True)
class RowSplit:
    """Positions of training rows by purpose; no row serves two.

    Attributes:
        calibration: rows the model's label prior is measured on.
        examples: rows shown to every row, in order.
        pool: rows the nearest examples are taken from.
        search: the samples of a search, and the rows they are judged on.
    """

    calibration: list[int] = field(default_factory=list)
    examples: list[int] = field(default_factory=list)
    pool: list[int] = field(default_factory=list)
    search: ExampleSearch | None = None


def training_rows(spec: PromptRecipe, rows: Rows | None) -> Rows:
    """The training rows.

    Raises:
        SpecError: there are none.
        DataError: they lack a column.
    """
    if rows is None:
        raise SpecError(f"spec {spec.name!r} needs training rows; add --train TABLE.")
    if len(rows):
        spec.check_columns(rows.inputs[0], "the training table")
    return rows


def split_rows(spec: PromptRecipe, rows: Rows, *, calibrate: bool = True) -> RowSplit:
    """Divides the training rows by purpose; the same rows and seed are always divided alike.

    Raises:
        DataError: there are too few, or the template cannot be filled with an example.
    """
    settings = spec.prompt.examples
    count = spec.answer.calibration_rows if calibrate else 0
    if settings.select in ("balanced", "random"):
        shown = choose_examples(rows, spec.task.labels, settings, spec.seed, spec.name)
        # An example that the template fails on is found here, before anything is paid.
        spec.adapter({"examples": spec.kept(rows, shown)})
        held = calibration_rows(rows, shown, count, spec.seed, spec.name) if count else []
        return RowSplit(calibration=held, examples=shown)
    # Set apart first: which rows become examples is known only after requests were paid for.
    held = calibration_rows(rows, (), count, spec.seed, spec.name) if count else []
    # `texts` goes through all rows each time it is read.
    texts = rows.texts
    taken = {same_text(texts[position]) for position in held}
    left = [position for position in distinct(rows, labelled=True) if same_text(texts[position]) not in taken]
    if settings.select == "searched":
        drawn = draw_search(rows, left, spec.task.labels, settings, spec.seed, spec.name)
        for sample in drawn.samples:
            spec.adapter({"examples": spec.kept(rows, sample.positions)})
        return RowSplit(calibration=held, search=drawn)
    return RowSplit(calibration=held, pool=_showable(spec, rows, short_enough(rows, left, spec.task.labels, settings)))


def fit_examples(
    spec: PromptRecipe, rows: Rows, split: RowSplit, blocks: list[Block] | None = None
) -> Conversation[Fitted]:
    """The fitted prompt before calibration: its examples are chosen, or the pool for nearest ones is embedded.

    Args:
        spec: the recipe.
        rows: the training rows.
        split: their purposes.
        blocks: a list to which a search appends each block of rows when it begins.

    Raises:
        EndpointError: too few texts got a vector, or no answer of a search is a label.
        Partial: some requests have no answer yet for a reason that may pass.
    """
    notes = _notes_on_labels(spec, rows)
    settings = spec.prompt.examples
    state: dict[str, Any] = {}
    arrays = {}
    if split.search is not None:
        state |= yield from search_examples(spec, rows, split.search, blocks)
    elif settings.select == "nearest":
        assert settings.endpoint is not None
        pool = rows.take(split.pool)
        kept, arrays[VECTORS] = yield from embed_pool(pool, settings.endpoint, settings.most, spec.name)
        state["pool"] = spec.kept(pool, kept)
        if len(kept) < len(pool):
            notes.append(
                f"{len(pool) - len(kept):,} of {len(pool):,} training texts got no embedding and are never shown."
            )
    else:
        state["examples"] = spec.kept(rows, split.examples)
    if notes:
        state["notes"] = notes
    return Fitted(spec=spec, train_digest=rows.digest_of(spec.columns), state=state, arrays=arrays)


def answer_rows(
    spec: PromptRecipe, fitted: Fitted, rows: Sequence[Mapping[str, Any]]
) -> Conversation[list[Prediction]]:
    """One prediction per row, by a prompt whose examples are chosen."""
    nearest = nearest_of(spec, fitted)
    if nearest is not None:
        return nearest.rows(rows)
    adapter = spec.adapter(fitted.state)
    return gather(adapter.row(inputs) for inputs in rows)


def nearest_of(spec: PromptRecipe, fitted: Fitted) -> Nearest | None:
    """Answers each row with its nearest examples; `None` for a prompt that shows all rows the same ones."""
    settings = spec.prompt.examples
    if settings.select != "nearest" or "pool" not in fitted.state:
        return None
    assert settings.endpoint is not None
    adapter = spec.adapter(fitted.state)
    return Nearest(adapter, settings.endpoint, settings.most, fitted.state["pool"], fitted.arrays[VECTORS], spec.name)


def _showable(spec: PromptRecipe, rows: Rows, positions: list[int]) -> list[int]:
    """The positions of rows that the template can be filled with: one odd row must not stop the fit."""
    adapter = spec.adapter({})
    count = spec.prompt.examples.most
    kept: list[int] = []
    why = ""
    for position, example in zip(positions, spec.kept(rows, positions), strict=True):
        try:
            adapter.example(example["inputs"], example["label"])
            kept.append(position)
        except UnrenderedRow as fault:
            why = why or f" ({fault})"
    if len(kept) < count:
        raise DataError(
            f"spec {spec.name!r} shows the {count} nearest examples, but the training rows hold only {len(kept)} "
            f"different labelled texts{of_length(spec.prompt.examples)} that can be shown{why}. Lower "
            f"prompt.examples.count{or_raise(spec.prompt.examples)}, or give more rows with --train."
        )
    return kept


def _notes_on_labels(spec: PromptRecipe, rows: Rows) -> list[str]:
    examples, labels = spec.prompt.examples, spec.task.labels
    if not examples.most:
        return []
    notes: list[str] = []
    if examples.select != "nearest" and examples.most < len(labels):
        notes.append(
            f"{examples.most} examples cannot show all {len(labels)} labels; to show one of each, set "
            f"prompt.examples.count: {len(labels)}."
        )
    missing = [label for label in labels if label not in set(rows.labels)]
    if missing:
        which = "it" if len(missing) == 1 else "them"
        notes.append(f"No training row has label {', '.join(missing)}, so no example shows {which}.")
    return notes

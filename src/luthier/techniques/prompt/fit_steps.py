"""The steps of fitting a prompt: choosing its examples, and answering with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luthier.providers.exchange import Conversation
from luthier.spec import Fitted
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows
from luthier.techniques.conversations import gather
from luthier.techniques.prompt.adapter import adapter_for
from luthier.techniques.prompt.example_search import search_examples
from luthier.techniques.prompt.few_shot import RowSplit
from luthier.techniques.prompt.nearest import VECTORS, Nearest, embed_pool
from luthier.techniques.prompt.recipe import PromptRecipe

if TYPE_CHECKING:
    from luthier.evaluation.racing import Block

__all__ = ["answer_rows", "fit_examples", "nearest_of"]

CALIBRATION_CURE = (
    "Set answer.calibration_rows: 0, or use an endpoint and a prompt that give log-probabilities for the labels; "
    "`luthier check` tries one row."
)


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
    state: dict[str, Any] = {}
    arrays = {}
    if split.search is not None:
        state |= yield from search_examples(spec, rows, split.search, blocks)
    elif spec.prompt.examples.select == "nearest":
        pool = rows.take(split.pool)
        kept, arrays[VECTORS] = yield from embed_pool(spec, pool)
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
    adapter = adapter_for(spec, fitted.state)
    return gather(adapter.row(inputs) for inputs in rows)


def nearest_of(spec: PromptRecipe, fitted: Fitted) -> Nearest | None:
    """Answers each row with its nearest examples; `None` for a prompt that shows all rows the same ones."""
    if spec.prompt.examples.select != "nearest" or "pool" not in fitted.state:
        return None
    return Nearest(spec, fitted)


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

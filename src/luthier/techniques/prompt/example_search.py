"""The examples of a fitted prompt; a search races several draws on training rows that none of them shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from luthier.errors import UnusableAnswers
from luthier.providers.exchange import ProgressEvent, Request
from luthier.spec import Conversation, Fitted
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows
from luthier.techniques.conversations import all_there, gather
from luthier.techniques.prompt.adapter import adapter_for, example_tokens
from luthier.techniques.prompt.few_shot import ExampleSearch, RowSplit, Sample
from luthier.techniques.prompt.nearest import VECTORS, embed_pool
from luthier.techniques.prompt.recipe import PromptRecipe

if TYPE_CHECKING:
    from luthier.evaluation.racing import Block, Outcome, Racer

__all__ = ["fit_examples", "most_requests"]


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
        UnusableAnswers: too few texts got a vector, or no answer of a search is a label.
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


def search_examples(
    spec: PromptRecipe, rows: Rows, drawn: ExampleSearch, blocks: list[Block] | None = None
) -> Conversation[dict[str, Any]]:
    """Races the samples; returns fitted state: `examples`, `samples` and `search`.

    All samples that are still in the race are asked about the next block of rows in one round. They are not calibrated:
    a label prior belongs to one set of examples and would have to be measured for each.

    Raises:
        UnusableAnswers: no answer of the first block is a label.
        Partial: some rows have no answer for a reason that may pass.
    """
    # Imported here, as a packaged model answers without scipy.
    import numpy as np

    from luthier.evaluation.racing import largest_fields, race

    adapters = [adapter_for(spec, {"examples": spec.kept(rows, sample.positions)}) for sample in drawn.samples]
    judged = rows.take(drawn.judged)
    racing = race(len(adapters), len(judged))
    fields = largest_fields(len(adapters), len(judged))
    block = next(racing)
    while True:
        if blocks is not None:
            blocks.append(block)
        left = f"{len(block.candidates)} of {len(adapters)} samples left"
        yield ProgressEvent("examples", block.first, len(judged), left)
        inputs = judged.inputs[block.first : block.end]
        predictions = yield from gather(adapters[c].row(row) for c in block.candidates for row in inputs)
        _check(spec, predictions, first=block.number == 1)
        truths = judged.labels[block.first : block.end] * len(block.candidates)
        score = spec.task.kind.score
        scores = [score(spec.objective, found, truth) for found, truth in zip(predictions, truths, strict=True)]
        try:
            block = racing.send(np.array(scores, dtype=float).reshape(-1, len(inputs)))
        except StopIteration as end:
            outcome: Outcome = end.value
            break
    winner = drawn.samples[outcome.winner]
    # The winner, then those that stayed longest.
    racers = sorted(outcome.racers, key=lambda racer: (-racer.rows, -racer.score.value, racer.candidate))
    racers.sort(key=lambda racer: racer.candidate != outcome.winner)
    return {
        "examples": spec.kept(rows, winner.positions),
        "samples": [_record(rows, drawn.samples[racer.candidate], racer, outcome.winner) for racer in racers],
        "search": {
            "rows": len(judged),
            "score": spec.task.kind.score_name(spec.objective),
            "requests": outcome.evaluations,
            "requests_of_all": outcome.full_evaluations,
            "blocks": len(fields),
        },
    }


def most_requests(spec: PromptRecipe, rows: Rows, drawn: ExampleSearch, block: Block | None = None) -> list[Request]:
    """The most requests of a search after a block: no further sample is dropped by a test, and the longest stay.

    Args:
        spec: the recipe.
        rows: the training rows.
        drawn: the samples and the rows they are scored on.
        block: the last block that has begun; `None` before the race.
    """
    from luthier.evaluation.racing import block_ends, largest_fields

    judged = rows.take(drawn.judged)
    adapters = [adapter_for(spec, {"examples": spec.kept(rows, sample.positions)}) for sample in drawn.samples]
    racing = range(len(adapters)) if block is None else block.candidates
    order = sorted(racing, key=lambda i: (-example_tokens(adapters[i].examples), i))
    first = 0 if block is None else block.end
    found: list[Request] = []
    for size, end in zip(largest_fields(len(adapters), len(judged)), block_ends(len(judged)), strict=True):
        part = judged.take(range(first, end))
        for sample in order[:size] if len(part) else ():
            found += adapters[sample].requests(part)
        first = max(first, end)
    return found


def _check(spec: PromptRecipe, predictions: Sequence[Prediction], *, first: bool) -> None:
    why = all_there(spec.name, predictions, "answers the search waits for are not there")
    if first and all(prediction.label is None for prediction in predictions):
        raise UnusableAnswers(
            f"spec {spec.name!r}: none of the first {len(predictions)} answers of the search is a label{why}. "
            "`luthier check SPEC` tries the endpoint; `luthier preview SPEC` shows what is sent."
        )


def _record(rows: Rows, sample: Sample, racer: Racer, winner: int) -> dict[str, Any]:
    # Short names, for a table in a terminal: `block` and `by` are when a sample was dropped and why.
    return {
        "sample": racer.candidate + 1,
        "count": sample.count,
        "seed": sample.seed,
        "labels": " ".join(str(rows.labels[position]) for position in sample.positions),
        "positions": " ".join(map(str, sample.positions)),
        "rows": racer.rows,
        "score": _short(racer.score.value),
        "low": _short(racer.score.low),
        "high": _short(racer.score.high),
        "p": _short(racer.p),
        "block": racer.dropped_after,
        "by": racer.dropped_by,
        "winner": racer.candidate == winner,
    }


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


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

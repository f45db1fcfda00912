"""What a prompt becomes on training rows: which row serves for what, what is asked, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from luthier.errors import DataError, SpecError
from luthier.providers.exchange import Request
from luthier.spec import Conversation, Fitted
from luthier.tasks.prediction import Prediction
from luthier.tasks.task import Rows
from luthier.techniques.calibration import calibrate
from luthier.techniques.calls import gather
from luthier.techniques.prompt.adapter import FewShotExample
from luthier.techniques.prompt.example_search import Search, draw_search, search, search_requests
from luthier.techniques.prompt.few_shot import (
    calibration_rows,
    choose_examples,
    distinct,
    of_length,
    or_raise,
    same_text,
    short_enough,
)
from luthier.techniques.prompt.nearest import Nearest, embed_pool, embedding_requests, typical
from luthier.techniques.prompt.template import UnrenderedRow

if TYPE_CHECKING:
    from luthier.techniques.prompt.prompt import Prompt

__all__ = ["Asker", "Chosen", "asker", "choose", "fit_prompt", "nearest_of", "planned_requests", "training"]

Asker: TypeAlias = Callable[[Sequence[Mapping[str, Any]]], Conversation[list[Prediction]]]
"""Asks for rows."""

VECTORS = "vectors"
"""Name of the pool's vectors among a fitted prompt's arrays."""

CALIBRATION_CURE = (
    "Set answer.calibration_rows: 0, or use an endpoint and a prompt that give log-probabilities for the labels; "
    "`luthier check` tries one row."
)


@dataclass(frozen=True)
class Chosen:
    """Which training rows serve for what; none serves for two things.

    Attributes:
        calibration: positions of those the model's bias is measured on.
        examples: of those shown to every row, in order.
        pool: of those the nearest are looked for among.
        search: samples and the rows they are judged on.
    """

    calibration: list[int] = field(default_factory=list)
    examples: list[int] = field(default_factory=list)
    pool: list[int] = field(default_factory=list)
    search: Search | None = None


def training(spec: Prompt, rows: Rows | None) -> Rows:
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


def choose(spec: Prompt, rows: Rows, *, calibrate: bool = True) -> Chosen:
    """Deals the training rows out; the same rows and seed are always dealt alike.

    Raises:
        DataError: there are too few, or the template cannot be filled with an example.
    """
    settings = spec.prompt.examples
    count = spec.answer.calibration_rows if calibrate else 0
    if settings.select in ("balanced", "random"):
        shown = choose_examples(rows, spec.task.labels, settings, spec.seed, spec.name)
        # An example the template fails on is found here, before anything is paid.
        spec.adapter({"examples": spec.kept(rows, shown)})
        held = calibration_rows(rows, shown, count, spec.seed, spec.name) if count else []
        return Chosen(calibration=held, examples=shown)
    # Set apart first: which rows end up as examples is not known before they are paid for.
    held = calibration_rows(rows, (), count, spec.seed, spec.name) if count else []
    # Every reading of `texts` goes through all rows.
    texts = rows.texts
    taken = {same_text(texts[position]) for position in held}
    left = [position for position in distinct(rows, labelled=True) if same_text(texts[position]) not in taken]
    if settings.select == "searched":
        drawn = draw_search(rows, left, spec.task.labels, settings, spec.seed, spec.name)
        for sample in drawn.samples:
            spec.adapter({"examples": spec.kept(rows, sample.positions)})
        return Chosen(calibration=held, search=drawn)
    return Chosen(calibration=held, pool=_showable(spec, rows, short_enough(rows, left, settings)))


def fit_prompt(spec: Prompt, rows: Rows | None) -> Conversation[Fitted]:
    """Chooses the examples and measures the model's bias towards labels, both on training rows only."""
    known = training(spec, rows)
    chosen = choose(spec, known)
    notes = _missing_labels(spec, known)
    settings = spec.prompt.examples
    state: dict[str, Any] = {}
    arrays = {}
    if chosen.search is not None:
        state |= yield from search(spec, known, chosen.search)
    elif settings.select == "nearest":
        assert settings.endpoint is not None
        pool = known.take(chosen.pool)
        kept, arrays[VECTORS] = yield from embed_pool(pool, settings.endpoint, settings.most, spec.name)
        state["pool"] = spec.kept(pool, kept)
        if len(kept) < len(pool):
            notes.append(
                f"{len(pool) - len(kept):,} of {len(pool):,} training texts got no embedding and are never shown."
            )
    else:
        state["examples"] = spec.kept(known, chosen.examples)
    if chosen.calibration:
        held = known.take(chosen.calibration)
        ask = asker(spec, Fitted(spec=spec, state=state, arrays=arrays))
        predictions = yield from ask(held.inputs)
        state |= calibrate(spec, held, predictions, CALIBRATION_CURE)
    if notes:
        state["notes"] = notes
    return Fitted(spec=spec, train_digest=known.digest_of(spec.columns), state=state, arrays=arrays)


def asker(spec: Prompt, fitted: Fitted) -> Asker:
    """How rows are asked by a fitted prompt."""
    found = nearest_of(spec, fitted)
    if found is not None:
        return found.rows
    adapter = spec.adapter(fitted.state)
    return lambda rows: gather(adapter.row(inputs) for inputs in rows)


def planned_requests(
    spec: Prompt, rows: Rows, train: Rows | None, fitted: Fitted | None
) -> tuple[list[Request], list[Request]]:
    """What fitting and what answering these rows would ask first.

    What hangs on answers that are not there yet is stood for: nearest examples by some of ordinary length, the
    winner of a search by the sample that shows most, the rounds of a race by the longest course it may take.
    """
    settings = spec.prompt.examples
    if fitted is not None or not spec.needs_training:
        known = fitted if fitted is not None else Fitted(spec=spec)
        found = nearest_of(spec, known)
        if found is None:
            return [], spec.adapter(known.state).requests(rows)
        assert settings.endpoint is not None
        asked = spec.adapter(known.state).requests(rows, found.typical)
        return [], [*embedding_requests(rows, settings.endpoint), *asked]
    given = training(spec, train)
    chosen = choose(spec, given)
    held = given.take(chosen.calibration)
    if settings.select == "nearest":
        assert settings.endpoint is not None
        adapter = spec.adapter({})
        shown = stand_ins(spec, given, chosen)
        fitting = embedding_requests(given.take([*chosen.pool, *chosen.calibration]), settings.endpoint)
        answering = embedding_requests(rows, settings.endpoint)
        return [*fitting, *adapter.requests(held, shown)], [*answering, *adapter.requests(rows, shown)]
    if chosen.search is not None:
        adapter = spec.adapter({"examples": spec.kept(given, chosen.search.longest.positions)})
        return [*search_requests(spec, given, chosen.search), *adapter.requests(held)], adapter.requests(rows)
    adapter = spec.adapter({"examples": spec.kept(given, chosen.examples)})
    return adapter.requests(held), adapter.requests(rows)


def stand_ins(spec: Prompt, rows: Rows, chosen: Chosen) -> tuple[FewShotExample, ...]:
    """Training rows of ordinary length, where the nearest are not known yet."""
    return typical(spec.adapter({}), spec.kept(rows, chosen.pool), spec.prompt.examples.most)


def nearest_of(spec: Prompt, fitted: Fitted) -> Nearest | None:
    """What asks with the examples nearest to each row; `None` where others are shown."""
    settings = spec.prompt.examples
    if settings.select != "nearest" or "pool" not in fitted.state:
        return None
    assert settings.endpoint is not None
    adapter = spec.adapter(fitted.state)
    return Nearest(adapter, settings.endpoint, settings.most, fitted.state["pool"], fitted.arrays[VECTORS], spec.name)


def _showable(spec: Prompt, rows: Rows, positions: list[int]) -> list[int]:
    """Those of the positions whose row the template can be filled with; one odd row must not close the pool."""
    adapter = spec.adapter({})
    count = spec.prompt.examples.most
    kept: list[int] = []
    why = ""
    for position, example in zip(positions, spec.kept(rows, positions), strict=True):
        try:
            adapter.shown(example["inputs"], example["label"])
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


def _missing_labels(spec: Prompt, rows: Rows) -> list[str]:
    examples, labels = spec.prompt.examples, spec.task.labels
    few = []
    if examples.select != "nearest" and 0 < examples.most < len(labels):
        few = [
            f"{examples.most} examples cannot show all {len(labels)} labels; to show one of each, set "
            f"prompt.examples.count: {len(labels)}."
        ]
    missing = [label for label in spec.task.labels if label not in set(rows.labels)]
    if not missing or not spec.prompt.examples.most:
        return few
    return [
        *few,
        f"No training row has label {', '.join(missing)}, so no example shows {'it' if len(missing) == 1 else 'them'}.",
    ]

"""Live answers of a server held against those that its model recorded, before it gets traffic.

A model that samples, or whose service does, does not give every answer again. So its answers may differ as often as
chance allows: in n rows at most the 95% quantile of Binomial(n, 0.05), which is 3 of 20. A technique that asks no
service gives every answer again, and a head over embeddings does within the rounding of the vectors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.packaging.folder import read_model_folder
from luthier.packaging.model import relocated
from luthier.packaging.recorded_answers import SCORES_WITHIN, RecordedRow, difference, read_recorded
from luthier.providers.exchange import Usage
from luthier.providers.prices import PriceBook, sum_if_known
from luthier.serving.scoring_client import NotAnswered, predictions_for
from luthier.spec import Spec
from luthier.techniques import read_fitted

__all__ = ["LiveCheck", "check_live", "compare_live", "most_disagreements", "price_of_check", "recorded_rows"]

REPEAT_DISAGREEMENT = 0.05
"""Share of rows that may get another answer when a model is asked the same again."""

CONFIDENCE = 0.95

VECTORS_WITHIN = 1e-3
"""By this much a probability of a head may differ: services round the same vector differently from call to call."""

NOTHING_RECORDED = "parity: the model recorded no answers, so none were compared"

LEAST_ANSWERED = 0.5
"""Share of the rows that must be answered at all; what fails for a passing reason says nothing about the model."""


@dataclass(frozen=True, slots=True)
class LiveCheck:
    """How live answers compare with the recorded ones.

    Attributes:
        passed: whether the server may get traffic.
        words: what was found, for the log and for `status`.
        rows: rows that were sent.
        answered: those that got an answer.
        alike: those that got the recorded one.
        wanted: how many of the answered ones had to.
    """

    passed: bool
    words: str
    rows: int = 0
    answered: int = 0
    alike: int = 0
    wanted: int = 0


def check_live(
    address: str | Path,
    model: Path,
    endpoint: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    timeout_seconds: float = 70.0,
) -> LiveCheck:
    """Sends the recorded rows of a model to a server of it, in one request, and compares the answers.

    A model that recorded nothing passes; so does one that is pointed at another model, whose answers are its own,
    where it answers at all.

    Args:
        address: `http://HOST:PORT`, or the path of the server's private socket.
        model: folder of the packaged model.
        endpoint: settings that point the model elsewhere, as the server has them.
        key: an API key of the server; the private socket asks for none.
        timeout_seconds: longest wait for the answer.

    Raises:
        ModelError: the folder is no packaged model, or its recorded answers are damaged.
    """
    recorded = recorded_rows(model)
    if not recorded:
        return LiveCheck(True, NOTHING_RECORDED)
    try:
        given = predictions_for(address, [row.inputs for row in recorded], key=key, timeout_seconds=timeout_seconds)
    except NotAnswered as error:
        return LiveCheck(False, f"parity: {error}", len(recorded))
    return compare_live(model, given, endpoint)


def recorded_rows(model: Path) -> tuple[RecordedRow, ...]:
    """The rows that a packaged model recorded; none for one that recorded nothing.

    Raises:
        ModelError: the folder is no packaged model, or its recorded answers are damaged.
    """
    folder = read_model_folder(model, str(model))
    recorded = read_recorded(folder.data) if folder.is_ours else None
    return () if recorded is None else recorded.rows


def price_of_check(model: Path, endpoint: Mapping[str, Any] | None = None) -> tuple[int, float | None]:
    """Rows that `check_live` asks about, and what that costs in US dollars; `None` where a price is not known.

    The tokens are those of the recorded answers. A row whose answers were not recorded counts like the
    average of the others.

    Args:
        model: folder of the packaged model.
        endpoint: settings that point the model elsewhere.

    Raises:
        ModelError: the folder is no packaged model, or its recorded answers are damaged.
    """
    folder = read_model_folder(model, str(model))
    recorded = read_recorded(folder.data) if folder.is_ours else None
    if recorded is None or not recorded.rows:
        return 0, 0.0
    spec = read_fitted(folder.data).spec
    if not spec.endpoints:
        return len(recorded.rows), 0.0
    moved = relocated(spec.endpoint, endpoint)
    asked = {one.model: moved if one == spec.endpoint else one for one in spec.endpoints}
    prices, costs = PriceBook(), []
    for answer in recorded.answers:
        entry, place = answer.entry, asked.get(answer.entry.model)
        usage = Usage(input_tokens=entry.input_tokens, output_tokens=entry.output_tokens)
        costs.append(None if place is None else prices.cost(place, usage, entry.reported_model))
    replayed = sum(row.has_answers for row in recorded.rows)
    usd = sum_if_known(costs) if replayed else None
    return len(recorded.rows), None if usd is None else usd * len(recorded.rows) / replayed


def compare_live(model: Path, given: Any, endpoint: Mapping[str, Any] | None = None) -> LiveCheck:
    """Compares what a server answered to the recorded rows with what was recorded.

    Args:
        model: folder of the packaged model.
        given: the server's `predictions`.
        endpoint: settings that point the model elsewhere, as the server has them.

    Raises:
        ModelError: the folder is no packaged model, or its recorded answers are damaged.
    """
    recorded = recorded_rows(model)
    fitted = read_fitted(read_model_folder(model, str(model)).data)
    if not isinstance(given, list) or len(given) != len(recorded):
        return LiveCheck(False, "parity: the server gave another number of answers than rows", len(recorded))
    pairs = [
        (row.prediction, answer) for row, answer in zip(recorded, given, strict=True) if answer.get("state") != "failed"
    ]
    replayed = sum(row.has_answers for row in recorded)
    said = f"parity: {replayed} of {len(recorded)} recorded answers replayed; live "
    if len(pairs) < LEAST_ANSWERED * len(recorded):
        return LiveCheck(False, f"{said}{len(pairs)} of {len(recorded)} rows answered", len(recorded), len(pairs))
    spec = fitted.spec
    moved = relocated(spec.endpoint, endpoint)
    is_other = moved is not None and spec.endpoint is not None and moved.model != spec.endpoint.model
    alike = sum(_are_alike(spec, before, now) for before, now in pairs)
    share = 0.0 if not spec.endpoints or spec.technique == "embedding" else REPEAT_DISAGREEMENT
    wanted = 0 if is_other else len(pairs) - most_disagreements(len(pairs), share)
    words = f"{said}{alike} of {len(pairs)} alike (at least {wanted} wanted)"
    if is_other:
        words = f"{said}{alike} of {len(pairs)} alike, asked at another model, so any number will do"
    if len(pairs) < len(recorded):
        words += f"; {len(recorded) - len(pairs)} not answered"
    return LiveCheck(alike >= wanted, words, len(recorded), len(pairs), alike, wanted)


def most_disagreements(rows: int, share: float) -> int:
    """The 95% quantile of Binomial(rows, share): more disagreements than this are rarely chance.

    Examples:
        >>> most_disagreements(20, 0.05), most_disagreements(20, 0.0), most_disagreements(3, 0.05)
        (3, 0, 1)
    """
    chance = 0.0
    for count in range(rows + 1):
        chance += math.comb(rows, count) * share**count * (1 - share) ** (rows - count)
        if chance >= CONFIDENCE:
            return count
    return rows


def _are_alike(spec: Spec, recorded: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    if not spec.endpoints:
        return difference(recorded, given) is None
    if recorded["state"] != given.get("state"):
        return False
    numbers = [name for name, cell in recorded.items() if isinstance(cell, int | float)]
    if spec.technique == "embedding" and numbers:
        # The label follows from the probabilities, and between equal ones the rounding decides.
        return all(_is_close(recorded[name], given.get(name), VECTORS_WITHIN) for name in numbers)
    value = spec.task.kind.value_name
    return recorded.get(value) == given.get(value) or _is_close(recorded.get(value), given.get(value), SCORES_WITHIN)


def _is_close(first: Any, second: Any, within: float) -> bool:
    are_numbers = isinstance(first, int | float) and isinstance(second, int | float)
    return are_numbers and math.isclose(first, second, rel_tol=within, abs_tol=within)

"""Previews: the requests that a spec would make, shown before anything is sent or paid."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from luthier.engine.estimates import NO_FOLLOW_UPS, estimated
from luthier.providers.exchange import Request
from luthier.providers.prices import PriceBook, dollars
from luthier.providers.tokens import TokenGuess
from luthier.tables import frame_of
from luthier.techniques.conversations import opening
from luthier.techniques.prompt_caching import caching_note
from luthier.terminals import visible

if TYPE_CHECKING:
    import pandas as pd

    from luthier.spec import Spec

__all__ = ["Preview", "calibration_note", "preview_rows", "turns_of"]


@dataclass(frozen=True)
class Preview:
    """The first request of each row, with an estimate of tokens and price.

    Attributes:
        name: name of the spec.
        model: the model that would be asked.
        requests: the first of each row; `None` for a row that makes none (blank text, failing template).
        reasons: why a row makes no request; empty for the others.
        input_tokens: estimated tokens sent for all rows.
        output_tokens: most tokens that may come back for all rows.
        cost_usd: estimated price in US dollars; `None` where it is unknown.
        cost_usd_max: the highest price in US dollars.
        notes: what to know before paying.
        also: the second request of each row, for techniques that make two.
    """

    name: str
    model: str
    requests: tuple[Request | None, ...]
    reasons: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    cost_usd_max: float | None
    notes: tuple[str, ...]
    also: tuple[Request | None, ...] = ()

    @property
    def turns(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Per row, the role and the text of each turn: `("user", "...")`; a completion has one turn, the `prompt`."""
        both = zip_longest(self.requests, self.also)
        return tuple(tuple(turn for one in asked if one is not None for turn in turns_of(one)) for asked in both)

    @property
    def summary(self) -> str:
        """Rows, tokens and price in one line."""
        price = "price unknown"
        if self.cost_usd is not None and self.cost_usd_max is not None:
            price = f"about {dollars(self.cost_usd)}, at most {dollars(self.cost_usd_max, up=True)}"
        sent = sum(request is not None for request in self.requests)
        rows = (
            f"{sent} of {len(self.requests)} rows"
            if sent < len(self.requests)
            else f"{sent} row{'' if sent == 1 else 's'}"
        )
        return (
            f"{self.name} to {self.model}: {rows}, about {self.input_tokens} tokens in, "
            f"at most {self.output_tokens} out, {price}; nothing was sent"
        )

    def __str__(self) -> str:
        lines = [self.summary, *(f"note: {note}" for note in self.notes)]
        for number, (turns, reason) in enumerate(zip(self.turns, self.reasons, strict=True), start=1):
            lines.append(f"--- row {number}{f': not sent, {reason}' if reason else ''}")
            lines += [f"[{who}] {said}" for who, said in turns]
        return visible("\n".join(lines))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = []
        for number, (turns, reason) in enumerate(zip(self.turns, self.reasons, strict=True), start=1):
            body = "".join(
                f'<div><b>{html.escape(who)}</b><pre style="white-space:pre-wrap;margin:0 0 .6em 1em">'
                f"{html.escape(said)}</pre></div>"
                for who, said in turns
            )
            head = f"row {number}" + (f": not sent, {html.escape(reason)}" if reason else "")
            rows.append(f"<details{' open' if number == 1 else ''}><summary>{head}</summary>{body}</details>")
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return f"<div><p>{html.escape(self.summary)}</p>{f'<ul>{notes}</ul>' if notes else ''}{''.join(rows)}</div>"


def calibration_note(count: int) -> list[str]:
    """A note that calibration asks about training rows, if it does."""
    if not count:
        return []
    return [
        f"Fitting asks about {count} training rows too, to measure which labels the model prefers whatever the text."
    ]


def preview_rows(
    spec: Spec,
    table: pd.DataFrame,
    notes: Sequence[str],
    request: Callable[[Mapping[str, Any]], Request],
    also: Callable[[Mapping[str, Any]], Request] | None = None,
) -> Preview:
    """The first requests of the rows of a table.

    Args:
        spec: the recipe; it has an endpoint.
        table: the rows to show.
        notes: what to know before paying.
        request: makes the request of a row.
        also: makes the second request of a row, if it has one.

    Raises:
        DataError: the table lacks a column.
    """
    endpoint = spec.endpoint
    assert endpoint is not None
    frame = frame_of(table, text=spec.task.text)
    spec.check_columns(frame.columns)
    rows, columns = spec.task.rows(frame).inputs, spec.task.text_columns
    found = [opening(inputs, columns, request) for inputs in rows]
    second = [] if also is None else [opening(inputs, columns, also) for inputs in rows]
    sent = [asked for asked in (*found, *second) if isinstance(asked, Request)]
    price = estimated(sent, endpoint, TokenGuess(), partial(PriceBook().cost, endpoint), NO_FOLLOW_UPS)
    return Preview(
        name=spec.name,
        model=endpoint.label,
        requests=tuple(asked if isinstance(asked, Request) else None for asked in found),
        reasons=tuple("" if isinstance(asked, Request) else asked.error or "its text is empty" for asked in found),
        input_tokens=price.input_tokens,
        output_tokens=price.max_output_tokens or 0,
        cost_usd=price.cost_usd,
        cost_usd_max=price.cost_usd_max,
        notes=(*notes, *caching_note(sent, endpoint)),
        also=tuple(asked if isinstance(asked, Request) else None for asked in second),
    )


def turns_of(request: Request) -> tuple[tuple[str, str], ...]:
    """The role and the text of each turn of a request, word for word; a completion has one turn, the `prompt`."""
    if request.operation == "completion":
        return (("prompt", str(request.body["prompt"])),)
    if request.operation == "embedding":
        return (("input", str(request.body["input"])),)
    if request.operation == "decision":
        return (("input", request.body["input"]), *((q["type"], _question(q)) for q in request.body["questions"]))
    return tuple((turn["role"], turn["content"]) for turn in request.body["messages"])


def _question(question: Mapping[str, Any]) -> str:
    offered = [*question.get("levels", ()), *question.get("choices", ())]
    named = [(str(option.get("label", option.get("value"))), option.get("description")) for option in offered]
    return "\n".join(
        [question["instructions"], *(f"- {label}: {said}" if said else f"- {label}" for label, said in named)]
    )

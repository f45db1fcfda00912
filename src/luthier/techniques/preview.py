"""What a spec would send, shown before anything is sent or paid."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Request, Usage
from luthier.providers.prices import dollars
from luthier.tasks.task import Rows, is_blank
from luthier.techniques.prompt.template import UnrenderedRow
from luthier.terminals import visible

if TYPE_CHECKING:
    pass

__all__ = ["Preview", "calibration_note", "estimate", "preview_rows"]


@dataclass(frozen=True)
class Preview:
    """The first request of each row, with an estimate of tokens and price.

    Attributes:
        name: name of the spec.
        model: where it would be asked.
        requests: what would be sent; `None` for a row that would not be (blank text, failing template).
        reasons: why not, for those rows; empty text for the others.
        input_tokens: estimated tokens sent for all rows.
        output_tokens: most tokens that may come back for all rows.
        cost_usd: estimated price, `None` where it is unknown.
        cost_usd_max: price at most.
        notes: what should be known before paying.
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

    @property
    def turns(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Per row, who says what: `("user", "...")`; a completion has one turn, the `prompt`."""
        return tuple(() if request is None else _turns(request) for request in self.requests)

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

    def __repr__(self) -> str:
        return str(self)

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
    """That calibrating asks about training rows, where it does."""
    if not count:
        return []
    return [
        f"Fitting asks about {count} training rows too, to measure which labels the model prefers whatever the text."
    ]


def preview_rows(
    name: str,
    endpoint: Endpoint,
    rows: Rows,
    request: Callable[[Mapping[str, Any]], Request],
    notes: Sequence[str],
) -> Preview:
    """The first requests of these rows.

    Args:
        name: of the spec.
        endpoint: where it would be asked.
        rows: the rows to show.
        request: makes what is sent for a row.
        notes: what should be known before paying.
    """
    requests: list[Request | None] = []
    reasons: list[str] = []
    for inputs in rows.inputs:
        try:
            blank = is_blank(inputs.get(rows.text))
            requests.append(None if blank else request(inputs))
            reasons.append("its text is empty" if blank else "")
        except UnrenderedRow as fault:
            requests.append(None)
            reasons.append(str(fault))
    sent = [asked for asked in requests if asked is not None]
    usage, cost, most = estimate(sent, endpoint)
    return Preview(
        name=name,
        model=endpoint.label,
        requests=tuple(requests),
        reasons=tuple(reasons),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd=cost,
        cost_usd_max=most,
        notes=tuple(notes),
    )


def estimate(requests: Sequence[Request], endpoint: Endpoint) -> tuple[Usage, float | None, float | None]:
    """Tokens of these requests, output at most, what they are likely to cost and what at most."""
    from luthier.providers.prices import PriceBook
    from luthier.providers.tokens import TokenGuess, most_input_tokens

    guess = TokenGuess()
    usages = [
        Usage(round(guess.input_tokens(request)), round(guess.largest_output(request, endpoint) or 0))
        for request in requests
    ]
    book = PriceBook()
    most = [replace(u, input_tokens=most_input_tokens(r)) for u, r in zip(usages, requests, strict=True)]

    def price(of: Sequence[Usage]) -> float | None:
        costs = [book.cost(endpoint, usage) for usage in of or [Usage()]]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    total = Usage(sum(usage.input_tokens for usage in usages), sum(usage.output_tokens for usage in usages))
    return total, price(usages), price(most)


def _turns(request: Request) -> tuple[tuple[str, str], ...]:
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

"""What a prompt would send, shown before anything is sent or paid."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from luthier.endpoints.endpoint import Endpoint
from luthier.endpoints.exchange import Request, Usage
from luthier.task import Rows, is_blank
from luthier.techniques.asking import Shown
from luthier.techniques.template import UnrenderedRow

if TYPE_CHECKING:
    from luthier.techniques.prompt import Prompt

__all__ = ["Preview", "estimate", "preview"]


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
        cost_usd: estimated price at most, `None` where the price is unknown.
        notes: what should be known before paying.
    """

    name: str
    model: str
    requests: tuple[Request | None, ...]
    reasons: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    notes: tuple[str, ...]

    @property
    def turns(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Per row, who says what: `("user", "...")`; a completion has one turn, the `prompt`."""
        return tuple(() if request is None else _turns(request) for request in self.requests)

    @property
    def summary(self) -> str:
        """Rows, tokens and price in one line."""
        price = "price unknown" if self.cost_usd is None else f"at most ${self.cost_usd:.6f}"
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
        return "\n".join(lines)

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


def preview(spec: Prompt, rows: Rows, state: Mapping[str, Any]) -> Preview:
    """The first requests of these rows; without chosen examples in `state`, placeholders stand for them."""
    assert spec.endpoint is not None
    asking = spec.asking(state)
    count = spec.prompt.examples.count
    notes = list(spec.notes())
    if spec.answer.calibration_rows:
        asked = spec.answer.calibration_rows
        notes.append(f"Fitting asks about {asked} training rows too, to measure which labels the model leans to.")
    if count and not state:
        labels = asking.answers
        placeholders = tuple(
            Shown(f"(example {i + 1} of {count}, chosen from the training rows)", labels[i % len(labels)], "")
            for i in range(count)
        )
        asking = replace(asking, examples=placeholders)
        notes.append("Examples are placeholders and missing from the estimate; give train=... to see those chosen.")
    requests: list[Request | None] = []
    reasons: list[str] = []
    for inputs in rows.inputs:
        try:
            blank = is_blank(inputs.get(rows.text))
            requests.append(None if blank else asking.request(inputs))
            reasons.append("its text is empty" if blank else "")
        except UnrenderedRow as fault:
            requests.append(None)
            reasons.append(str(fault))
    sent = [request for request in requests if request is not None]
    usage, cost = estimate(sent, spec.endpoint)
    return Preview(
        name=spec.name,
        model=spec.endpoint.label,
        requests=tuple(requests),
        reasons=tuple(reasons),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd=cost,
        notes=tuple(notes),
    )


def estimate(requests: Sequence[Request], endpoint: Endpoint) -> tuple[Usage, float | None]:
    """Tokens of these requests, output at most, and what they cost; the one place that estimates here."""
    from luthier.endpoints.prices import PriceBook
    from luthier.endpoints.tokens import TokenGuess

    guess = TokenGuess()
    usages = [
        Usage(round(guess.input_tokens(request)), round(guess.largest_output(request, endpoint) or 0))
        for request in requests
    ]
    book = PriceBook()
    costs = [book.cost(endpoint, usage) for usage in usages] if usages else [book.cost(endpoint, Usage())]
    known = [cost for cost in costs if cost is not None]
    total = Usage(sum(usage.input_tokens for usage in usages), sum(usage.output_tokens for usage in usages))
    return total, sum(known) if len(known) == len(costs) else None


def _turns(request: Request) -> tuple[tuple[str, str], ...]:
    if request.operation == "completion":
        return (("prompt", str(request.body["prompt"])),)
    return tuple((turn["role"], turn["content"]) for turn in request.body["messages"])

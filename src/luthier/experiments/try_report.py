"""What was tried as text and as HTML: prompts, answers, labels, probabilities, tokens, price.

Prompts and answers are strangers' texts: control characters are made visible on a terminal, markup is escaped in HTML.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Any

from luthier.experiments.try_records import Tried
from luthier.reporting.numbers import number
from luthier.reporting.table import Cell, Column, Row, Section, Table
from luthier.reporting.terminal import text_of
from luthier.terminals import visible

__all__ = ["clipped", "tried_html", "tried_text"]

FIRST_LINES, LAST_LINES = 10, 14
"""Lines of a long prompt or answer that are shown; the row stands at the end of most prompts."""

LONGEST_LINE = 600

MOST_LABELS = 12
"""Labels whose probabilities are shown."""

MOST_TOKENS = 5

BAR = 24


def tried_text(
    tried: Sequence[Tried], title: str, truth: Any = None, diff: str = "", spending: str = "", *, whole: bool = False
) -> str:
    """A row and its answers as text; the middle of long prompts and answers is left out unless `whole`."""
    lines = [title]
    if diff:
        lines += ["", *diff.split("\n")]
    for titles, sent, why in _questions(tried):
        lines += ["", f"{titles}: {why}" if why else f"sent to {titles}:"]
        lines += [line for role, text in sent for line in _turn(role, text, whole)]
    for one in tried:
        if one.calls:
            lines += ["", *_answer(one, whole)]
    lines += ["", text_of(Section("", (_summary(tried, truth),)))]
    shares = _shares(tried)
    if shares is not None:
        lines += ["", text_of(Section("", (shares,)))]
    lines += [f"- {said}" for said in _said(tried)]
    if spending:
        lines += [spending]
    return visible("\n".join(lines))


def clipped(text: str, whole: bool = False) -> str:
    """A text without its middle where it is long, with how much was left out.

    Examples:
        >>> print(clipped("\\n".join(map(str, range(40)))).split("\\n")[10])
        … 16 lines are not shown …
    """
    lines = text.split("\n")
    if whole:
        return text
    if len(lines) > FIRST_LINES + LAST_LINES + 2:
        left = len(lines) - FIRST_LINES - LAST_LINES
        lines = [*lines[:FIRST_LINES], f"… {left:,} lines are not shown …", *lines[-LAST_LINES:]]
    half = LONGEST_LINE // 2
    return "\n".join(
        line
        if len(line) <= LONGEST_LINE
        else f"{line[:half]} … {len(line) - LONGEST_LINE:,} characters are not shown … {line[-half:]}"
        for line in lines
    )


def _questions(tried: Sequence[Tried]) -> Iterator[tuple[str, tuple[tuple[str, str], ...], str]]:
    """Each different prompt once: who was sent it, the prompt, and why nothing was sent."""
    groups: dict[tuple[tuple[tuple[str, str], ...], str], list[str]] = {}
    for one in tried:
        why = ""
        if not one.calls:
            if one.state == "empty":
                why = "nothing was sent, because the row has no text"
            elif one.spec.endpoint is None:
                why = f"nothing was sent: technique {one.spec.technique} calls no model"
            else:
                why = "nothing was sent"
        groups.setdefault((one.sent, why), []).append(one.title)
    for (sent, why), titles in groups.items():
        yield ", ".join(titles), sent, why


def _turn(role: str, text: str, whole: bool) -> list[str]:
    first, *others = clipped(text, whole).split("\n")
    return [f"  [{role}] {first}", *(f"  {line}" for line in others)]


def _answer(one: Tried, whole: bool) -> list[str]:
    said = clipped(_said_visibly(one), whole).split("\n")
    further = len(one.calls) - 1
    more = f" (and {further} further call{'' if further == 1 else 's'})" if further else ""
    failed = one.main is not None and one.main.answer.failure is not None
    verb = "gave no answer" if failed else "answered"
    tokens = [f"  likeliest first tokens: {_tokens(one)}"] if _tokens(one) else []
    if len(said) == 1:
        return [f"{one.title} {verb}{more}: {said[0]}", *tokens]
    return [f"{one.title} {verb}{more}:", *(f"  {line}" for line in said), *tokens]


def _said_visibly(one: Tried) -> str:
    """The answer; one of blanks, of which nothing would be seen, in quotes."""
    return one.said if one.said.strip() else repr(one.said) if one.said else "(nothing)"


def _tokens(one: Tried) -> str:
    """The tokens that a label's probability is made of, which a model was not made to write out."""
    shown = one.main.likeliest[:MOST_TOKENS] if one.main is not None else ()
    return ", ".join(f"{token!r} {_share(p)}" for token, p in shown)


def _summary(tried: Sequence[Tried], truth: Any) -> Table:
    kind = tried[0].spec.task.kind
    judging = Column("off by", "number", drop=2) if kind.graded else Column("right", drop=2)
    columns = [
        Column("", kind="name", least=30),
        Column(kind.value_name, least=40),
        *([judging] if truth is not None else []),
        Column("tokens in", "count", drop=1),
        Column("out", "count", drop=1),
        Column("$", "usd"),
        Column("latency", "seconds"),
        Column("asked"),
    ]
    rows = []
    for one in tried:
        call = one.prediction.call
        label = clipped(one.spec.task.kind.written(one.label)) if one.state == "ok" else one.state
        right: list[Cell] = []
        if truth is not None and kind.graded:
            right = [float(kind.judge([truth], [one.prediction]).distances[0]) if one.state == "ok" else None]
        elif truth is not None:
            right = ["yes" if one.state == "ok" and one.label == truth else "no"]
        cells: list[Cell] = [
            one.title,
            label,
            *right,
            call.input_tokens,
            call.output_tokens,
            "unknown" if one.cost_usd is None else one.cost_usd,
            call.latency_seconds,
            "" if not one.calls else "from the journal" if one.from_journal else "now",
        ]
        rows.append(Row(tuple(cells)))
    return Table(tuple(columns), tuple(rows))


def _likeliest(tried: Sequence[Tried]) -> list[str]:
    """The labels to show, in the task's order: all of a short list, else the likeliest of any answer."""
    labels = list(tried[0].spec.task.labels)
    if len(labels) <= MOST_LABELS:
        return labels
    most = {label: max(one.probabilities.get(label, 0.0) for one in tried) for label in labels}
    kept = set(sorted(labels, key=lambda label: -most[label])[:MOST_LABELS])
    return [label for label in labels if label in kept]


def _shares(tried: Sequence[Tried]) -> Table | None:
    """The probabilities as bars; `None` where no model gave any."""
    giving = [one for one in tried if one.probabilities]
    if not giving:
        return None
    labels = _likeliest(giving)
    width = BAR // len(giving) if len(giving) <= 3 else 0
    columns = [Column("probability", kind="name"), *(Column(one.title, least=40) for one in giving)]
    rows = []
    for label in labels:
        given = [one.probabilities[label] for one in giving]
        rows.append(Row((label, *(f"{_share(p)} {'█' * round(width * p)}".rstrip() for p in given))))
    whole = len(giving[0].spec.task.labels)
    notes = (f"The {len(labels)} likeliest of {whole:,} labels.",) if whole > len(labels) else ()
    return Table(tuple(columns), tuple(rows), notes)


def _share(p: float) -> str:
    return number(p, "share") if p >= 0.005 or p == 0 else "<.01"


def _said(tried: Sequence[Tried]) -> Iterator[str]:
    """Why there is no label, and notes; what holds for all is said once."""
    for one in tried:
        if one.prediction.error:
            yield f"{one.title}: {clipped(' '.join(one.prediction.error.split()))}"
    for note in dict.fromkeys(note for one in tried for note in one.notes):
        titles = [one.title for one in tried if note in one.notes]
        yield note if len(titles) == len(tried) else f"{', '.join(titles)}: {note}"


CELL = "padding:.15em .8em .15em 0;text-align:left;vertical-align:top"
PRE = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.3;margin:.1em 0 .5em 1em;max-height:24em;overflow:auto"


def tried_html(tried: Sequence[Tried], title: str, truth: Any = None, diff: str = "", spending: str = "") -> str:
    """A row and its answers as HTML for a notebook; every text in it is escaped, and nothing is left out."""
    parts = [f"<p><b>{_text(title)}</b></p>"]
    if diff:
        parts.append(f'<pre style="{PRE}">{_text(diff)}</pre>')
    for titles, sent, why in _questions(tried):
        if why:
            parts.append(f"<p>{_text(titles)}: {_text(why)}</p>")
            continue
        turns = "".join(f'<div>{_text(role)}<pre style="{PRE}">{_text(text)}</pre></div>' for role, text in sent)
        parts.append(f"<details open><summary>sent to {_text(titles)}</summary>{turns}</details>")
    answers = "".join(
        f'<td style="{CELL}"><div>{_text(one.title)}</div><pre style="{PRE}">{_text(_said_visibly(one))}</pre>'
        f"<div>{_text(f'likeliest first tokens: {_tokens(one)}') if _tokens(one) else ''}</div></td>"
        for one in tried
        if one.calls
    )
    if answers:
        parts.append(f"<table><tbody><tr>{answers}</tr></tbody></table>")
    parts += [_table(table) for table in (_summary(tried, truth), _shares(tried)) if table is not None]
    notes = "".join(f"<li>{_text(said)}</li>" for said in _said(tried))
    parts.append(f"<ul>{notes}</ul>" if notes else "")
    parts.append(f"<p>{_text(spending)}</p>" if spending else "")
    return f"<div>{''.join(parts)}</div>"


def _table(table: Table) -> str:
    head = "".join(f'<th style="{CELL}">{_text(column.title)}</th>' for column in table.columns)
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td style="{CELL};white-space:pre-wrap">{_text(_written(cell, column))}</td>'
            for cell, column in zip(row.cells, table.columns, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    notes = "".join(f"<p>{_text(note)}</p>" for note in table.notes)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{notes}"


def _written(cell: Cell, column: Column) -> str:
    if cell is None or isinstance(cell, str):
        return cell or ""
    assert column.unit is not None and isinstance(cell, int | float)
    return number(cell, column.unit)


def _text(text: str) -> str:
    return html.escape(visible(text))

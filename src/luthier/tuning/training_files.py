"""The lines a service trains on: made of the spec's own prompt, and held against what services take."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any

from luthier.providers.exchange import Request
from luthier.providers.redaction import sendable
from luthier.providers.tokens import TokenGuess, most_input_tokens, request_units
from luthier.tasks.task import Rows
from luthier.techniques.finetune import FineTune
from luthier.tuning.preflight_findings import PreflightFinding, RowExcerpt
from luthier.tuning.tuners.tuner import Rules

__all__ = ["TrainingFile", "file_findings", "training_file"]

MEGABYTE = 1_000_000

NEARLY = 0.8
"""From this share of a limit on, an estimate of tokens may well be above it."""

MOST_SHOWN = 3
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class TrainingFile:
    """A table as the service gets it.

    Attributes:
        content: JSONL, one conversation a line.
        rows: how many lines.
        labels: how many of each label, in the task's order.
        left_out: rows without a text, which are not trained on.
        tokens: estimated tokens of one pass over them.
        most_tokens: tokens that one pass over them has at most.
        rows_digest: digest of the rows in the columns the spec reads.
        row_tokens: estimated tokens of each line.
        row_numbers: the row of the table each line was made of, counted from 1.
        faults: lines that services would refuse, by their row.
    """

    content: bytes
    rows: int
    labels: Mapping[str, int]
    left_out: int
    tokens: int
    rows_digest: str
    row_tokens: tuple[int, ...] = ()
    row_numbers: tuple[int, ...] = ()
    faults: Mapping[int, str] = field(default_factory=dict)
    most_tokens: int = 0

    @property
    def digest(self) -> str:
        """sha256 of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def name(self) -> str:
        """What the file is called at the service: a file of this name holds this content."""
        return f"luthier-{self.digest[:40]}.jsonl"

    @property
    def spread(self) -> dict[str, int]:
        """Estimated tokens a line: least, median, 95th percentile and most; empty without lines."""
        if not self.row_tokens:
            return {}
        ordered = sorted(self.row_tokens)
        high = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
        return {"min": ordered[0], "median": median_low(ordered), "p95": high, "max": ordered[-1]}

    def document(self) -> dict[str, Any]:
        """The figures as JSON has them, without the lines themselves."""
        return {
            "rows": self.rows,
            "left_out": self.left_out,
            "labels": dict(self.labels),
            "tokens": self.tokens,
            "most_tokens": self.most_tokens,
            "tokens_a_line": self.spread,
            "bytes": len(self.content),
            "digest": self.digest,
            "rows_digest": self.rows_digest,
        }


def training_file(spec: FineTune, rows: Rows) -> TrainingFile:
    """The lines a service is sent for these rows."""
    examples = spec.training_examples(rows)
    guess = TokenGuess()
    tokens = tuple(round(guess.tokens_of(request_units(Request("chat", example)))) for example in examples)
    texts = rows.texts
    counted = Counter(label for label, text in zip(rows.labels, texts, strict=True) if text is not None)
    numbers = tuple(number for number, text in enumerate(texts, start=1) if text is not None)
    content = "".join(json.dumps(example, ensure_ascii=False) + "\n" for example in examples)
    faults = {number: line_fault(example) for number, example in zip(numbers, examples, strict=True)}
    return TrainingFile(
        content=sendable(content).encode(),
        rows=len(examples),
        labels={label: counted.get(label, 0) for label in spec.task.labels},
        left_out=len(rows) - len(examples),
        tokens=sum(tokens),
        rows_digest=rows.digest_of(spec.columns),
        row_tokens=tokens,
        row_numbers=numbers,
        faults={number: fault for number, fault in faults.items() if fault},
        most_tokens=sum(most_input_tokens(Request("chat", example)) for example in examples),
    )


def line_fault(example: Mapping[str, Any]) -> str:
    """What a service would refuse a line for; empty when it would take it.

    Examples:
        >>> line_fault({"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "5"}]})
        'the turn of the user is empty'
        >>> line_fault({"messages": [{"role": "user", "content": "Stars?"}]})
        'the last turn is not the answer'
    """
    turns = example["messages"]
    for turn in turns:
        if turn.get("role") not in ROLES:
            return f"a turn has role {turn.get('role')!r}; allowed: {', '.join(ROLES)}"
        if not isinstance(turn.get("content"), str) or not turn["content"].strip():
            return f"the turn of the {turn['role']} is empty"
    if not turns or turns[-1]["role"] != "assistant":
        return "the last turn is not the answer"
    return "" if any(turn["role"] == "user" for turn in turns) else "nothing is asked: there is no turn of the user"


def file_findings(table: str, lines: TrainingFile, rules: Rules, rows: Rows) -> list[PreflightFinding]:
    """What a service would refuse a file for, or silently cut."""
    said = {"train": "training", "validation": "validation"}[table]
    found: list[PreflightFinding] = []
    least = rules.least_examples if table == "train" else 1
    if lines.rows < least:
        found.append(
            PreflightFinding(
                "too_few_rows",
                True,
                f"{lines.rows} {said} rows with a text; services take {least} or more.",
                f"Give --{table} a table with more rows.",
            )
        )
    if lines.faults:
        (first, fault), *_ = lines.faults.items()
        found.append(
            PreflightFinding(
                "schema",
                True,
                f"{len(lines.faults):,} {said} lines would be refused; row {first}: {fault}.",
                "Correct the prompt's template or the rows.",
                _places(table, list(lines.faults), rows),
            )
        )
    if rules.most_bytes is not None and len(lines.content) > rules.most_bytes:
        found.append(
            PreflightFinding(
                "too_large",
                True,
                f"the {said} lines have {len(lines.content) / MEGABYTE:,.0f} MB; "
                f"the service takes {rules.most_bytes / MEGABYTE:,.0f} MB.",
                f"Give --{table} fewer rows, or shorten the prompt: its words are repeated in every line.",
            )
        )
    found += _long_lines(table, said, lines, rules.most_tokens_a_line, rows)
    if lines.left_out:
        found.append(PreflightFinding("blank", False, f"{lines.left_out:,} {said} rows have no text and are left out."))
    return found


def _long_lines(table: str, said: str, lines: TrainingFile, most: int | None, rows: Rows) -> list[PreflightFinding]:
    if most is None:
        return []
    sizes = dict(zip(lines.row_numbers, lines.row_tokens, strict=True))
    over = [row for row, tokens in sizes.items() if tokens > most]
    close = [row for row, tokens in sizes.items() if NEARLY * most < tokens <= most]
    found = []
    if over:
        found.append(
            PreflightFinding(
                "long_lines",
                True,
                f"{len(over):,} {said} lines are over the {most:,} tokens this service trains on a line (about "
                f"{sizes[over[0]]:,} in row {over[0]}); it would cut them from the end, and the end is the answer.",
                "Shorten these rows or leave them out.",
                _places(table, over, rows),
            )
        )
    if close:
        found.append(
            PreflightFinding(
                "long_lines",
                False,
                f"{len(close):,} {said} lines come close to the {most:,} tokens this service trains on a line, by an "
                "estimate that may be a fifth too low.",
                "",
                _places(table, close, rows),
            )
        )
    return found


def _places(table: str, numbers: Sequence[int], rows: Rows) -> tuple[RowExcerpt, ...]:
    return tuple(RowExcerpt.of(table, rows, number - 1) for number in numbers[:MOST_SHOWN])

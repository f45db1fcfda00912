"""The files a service trains on: made from the spec's own prompt, and checked against what services accept."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from luthier.providers.exchange import Request
from luthier.providers.redaction import sendable
from luthier.providers.tokens import TokenGuess, most_input_tokens, request_units
from luthier.tasks.task import Rows
from luthier.tasks.types import TaskType
from luthier.techniques.finetune import FineTune
from luthier.tuning.preflight_findings import PreflightFinding, excerpts
from luthier.tuning.tuners.tuner import Rules

__all__ = ["TrainingFile", "answer_findings", "count_parts", "file_findings", "training_file"]

MEGABYTE = 1_000_000

NEARLY = 0.8
"""Above this share of a limit, the true number of tokens may exceed it: estimates can be a fifth too low."""


@dataclass(frozen=True)
class TrainingFile:
    """A table as it is sent to the service: JSONL, one conversation a line.

    Attributes:
        rows: number of lines; rows without a text are `left_out`.
        tokens: estimated tokens of one pass over the lines, `line_tokens` of each; `most_tokens` is an upper bound.
        rows_digest: digest of the rows in the columns the spec reads.
        positions: position in the table of the row behind each line, counted from 0.
        empty_turns: positions of rows with an empty turn, which services refuse.
        answers: the answer of each line.
    """

    content: bytes
    rows: int
    labels: Mapping[str, int]
    left_out: int
    tokens: int
    most_tokens: int
    rows_digest: str
    line_tokens: tuple[int, ...]
    positions: tuple[int, ...]
    empty_turns: tuple[int, ...]
    answers: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def name(self) -> str:
        """Name of the file at the service; it is made of the digest, so that a file of this name has this content."""
        return f"luthier-{self.digest[:40]}.jsonl"

    @property
    def spread(self) -> dict[str, int]:
        """Estimated tokens a line: minimum, median, 95th percentile and maximum; empty without lines."""
        if not self.line_tokens:
            return {}
        ordered = sorted(self.line_tokens)
        high = ordered[round(0.95 * (len(ordered) - 1))]
        return {"min": ordered[0], "median": median_low(ordered), "p95": high, "max": ordered[-1]}

    def document(self) -> dict[str, Any]:
        """The figures as JSON values, without the lines themselves."""
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


def count_parts(rows: Rows, kind: TaskType) -> dict[str, int]:
    """Number of rows with a text that have each label, or what else truths of the type consist of."""
    counted: Counter[str] = Counter()
    for truth, text in zip(rows.labels, rows.texts, strict=True):
        if text is not None:
            counted.update(set(kind.parts_of(truth)))
    return {part: counted[part] for part in kind.parts}


def training_file(spec: FineTune, rows: Rows) -> TrainingFile:
    """The file that a service is sent for these rows."""
    examples = spec.training_examples(rows)
    requests = [Request("chat", example) for example in examples]
    guess = TokenGuess()
    tokens = tuple(round(guess.tokens_of(request_units(request))) for request in requests)
    positions = tuple(position for position, text in enumerate(rows.texts) if text is not None)
    return TrainingFile(
        content=sendable("".join(json.dumps(example, ensure_ascii=False) + "\n" for example in examples)).encode(),
        rows=len(examples),
        labels=count_parts(rows, spec.task.kind),
        left_out=len(rows) - len(examples),
        tokens=sum(tokens),
        most_tokens=sum(map(most_input_tokens, requests)),
        rows_digest=rows.digest_of(spec.columns),
        line_tokens=tokens,
        positions=positions,
        empty_turns=tuple(
            position
            for position, example in zip(positions, examples, strict=True)
            if not all(turn["content"].strip() for turn in example["messages"])
        ),
        answers=tuple(example["messages"][-1]["content"] for example in examples),
    )


def file_findings(table: str, file: TrainingFile, rules: Rules, rows: Rows) -> Iterator[PreflightFinding]:
    """What a service would refuse a file for, or silently cut.

    Args:
        table: `train` or `validation`.
        file: from `training_file`.
        rules: of the service.
        rows: the table.
    """
    named = "training" if table == "train" else table
    least = rules.least_examples if table == "train" else 1
    if file.rows < least:
        yield PreflightFinding(
            "too_few_rows",
            True,
            f"{file.rows} {named} rows with a text; services take {least} or more.",
            f"Give --{table} a table with more rows.",
        )
    if file.empty_turns:
        yield PreflightFinding(
            "schema",
            True,
            f"{len(file.empty_turns):,} {named} lines would be refused: a turn is empty.",
            "Correct the prompt's template or the rows.",
            excerpts(table, rows, file.empty_turns),
        )
    if rules.most_bytes is not None and len(file.content) > rules.most_bytes:
        yield PreflightFinding(
            "too_large",
            True,
            f"the {named} lines have {len(file.content) / MEGABYTE:,.0f} MB; "
            f"the service takes {rules.most_bytes / MEGABYTE:,.0f} MB.",
            f"Give --{table} fewer rows, or shorten the prompt: its words are repeated in every line.",
        )
    if rules.most_tokens_a_line is not None:
        yield from _long_lines(table, named, file, rules.most_tokens_a_line, rows)
    if file.left_out:
        yield PreflightFinding("blank", False, f"{file.left_out:,} {named} rows have no text and are left out.")


def answer_findings(
    files: Mapping[str, TrainingFile], rules: Rules, model: str, *, closed: bool
) -> Iterator[PreflightFinding]:
    """What a model cannot learn that chooses among the answers it was trained on.

    Args:
        files: by table.
        rules: of the service.
        model: the base model.
        closed: whether the task has a closed set of labels, so that every answer is among them.
    """
    if rules.most_answers is None or closed:
        return
    counted = Counter(files["train"].answers)
    chooses = f"{model} learns to choose among the answers of the training rows and writes none of its own"
    elsewhere = "For answers to other texts tune a model that writes, at another service: docs/tune.md"
    if len(counted) > rules.most_answers:
        yield PreflightFinding(
            "too_many_answers",
            True,
            f"{chooses}; there are {len(counted):,} different ones, and it takes {rules.most_answers:,}.",
            f"{elsewhere}; or give fewer rows.",
        )
        return
    unlike = sum(count == 1 for count in counted.values())
    held_out = files.get("validation")
    seen = "" if held_out is None else f"; {_known(held_out, counted)}"
    yield PreflightFinding(
        "answers_repeated",
        False,
        f"{chooses}. Of {len(counted):,} different ones {unlike:,} stand in one row only{seen}.",
        f"{elsewhere}." if unlike * 2 > len(counted) else "",
    )


def _known(held_out: TrainingFile, counted: Counter[str]) -> str:
    known = sum(answer in counted for answer in held_out.answers)
    return f"of {held_out.rows:,} validation rows it can answer {known:,} rightly at best"


def _long_lines(table: str, named: str, file: TrainingFile, most: int, rows: Rows) -> Iterator[PreflightFinding]:
    sizes = dict(zip(file.positions, file.line_tokens, strict=True))
    over = [position for position, tokens in sizes.items() if tokens > most]
    close = [position for position, tokens in sizes.items() if NEARLY * most < tokens <= most]
    if over:
        yield PreflightFinding(
            "long_lines",
            True,
            f"{len(over):,} {named} lines are over the {most:,} tokens this service trains on a line (about "
            f"{sizes[over[0]]:,} in row {over[0] + 1}); it would cut them from the end, and the end is the answer.",
            "Shorten these rows or leave them out.",
            excerpts(table, rows, over),
        )
    if close:
        yield PreflightFinding(
            "long_lines",
            False,
            f"{len(close):,} {named} lines come close to the {most:,} tokens this service trains on a line, by an "
            "estimate that may be a fifth too low.",
            rows=excerpts(table, rows, close),
        )

"""Requests written into files that a service takes as batches, each request claimed in the journal before it is."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from luthier.batches.service import url_of
from luthier.batches.settings import BatchSettings
from luthier.engine.ask_options import FINAL
from luthier.home import luthier_home
from luthier.journal.batch_table import BatchTable
from luthier.journal.stored_batches import StoredBatch
from luthier.providers import PROVIDERS
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Operation, Request
from luthier.providers.keys import answer_key, key_prefix

__all__ = [
    "BatchLine",
    "BatchedModel",
    "FoundInJournal",
    "Refusal",
    "ShardSize",
    "ShardWriter",
    "folder_of",
    "input_of",
    "line_of",
    "request_in",
]

CLAIM_LINES = 500
"""Lines claimed in one transaction and written together."""


@dataclass(frozen=True, slots=True, eq=False)
class BatchedModel:
    """One route of one model, which is what a batch asks.

    Attributes:
        endpoint: who answers.
        identity: name its answers are kept under.
        prefix: of the journal keys; see `providers/keys.py`.
        reported: what the service last said the model is.
    """

    endpoint: Endpoint
    operation: Operation
    identity: str
    prefix: bytes
    reported: str | None


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One request of a batch's file.

    Attributes:
        content: the line, with its end.
        tokens: estimate of its input tokens.
        most_usd: what it costs at most; `None` when the price is unknown.
    """

    key: bytes
    content: bytes
    tokens: float
    most_usd: float | None


def line_of(request: Request, key: bytes, model: BatchedModel, tokens: float, most_usd: float | None) -> BatchLine:
    """A request as a batch's file has it."""
    _, body = PROVIDERS[model.endpoint.provider].adapt(request, model.endpoint)
    if model.operation == "embedding":
        body["encoding_format"] = "base64"
    line = {"custom_id": key.hex(), "method": "POST", "url": url_of(model.endpoint, model.operation), "body": body}
    return BatchLine(key, json.dumps(line, separators=(",", ":")).encode() + b"\n", tokens, most_usd)


def request_in(content: bytes, key: bytes, identity: str, endpoint: Endpoint, operation: Operation) -> Request | None:
    """The request that a line of a batch's file was made of; `None` where the line does not tell.

    Args:
        content: the line.
        key: of the request, which proves that it is the one.
        identity: name that its answer was to be kept under.
        endpoint: the one whose spelling the line has.
        operation: of the request.
    """
    body = json.loads(content)["body"]
    ours = {name: value for name, value in body.items() if name != "model" and name not in endpoint.extra_body}
    if operation == "embedding":
        ours.pop("encoding_format", None)
    if "max_completion_tokens" in ours:
        ours["max_tokens"] = ours.pop("max_completion_tokens")
    request = Request(operation, ours)
    return request if answer_key(key_prefix(endpoint, identity), request) == key else None


def folder_of(batch: StoredBatch) -> Path:
    """The folder of a batch's files on this machine; it holds texts, so only this user can read it."""
    return luthier_home() / "batches" / batch.token


def input_of(batch: StoredBatch) -> Path:
    """The file of a batch's requests."""
    return folder_of(batch) / f"luthier-{batch.token}.jsonl"


@dataclass(slots=True)
class ShardSize:
    """Lines, bytes, tokens and the most that a batch costs; `unpriced` counts lines of unknown price."""

    lines: int = 0
    bytes: int = 0
    tokens: float = 0.0
    most_usd: float = 0.0
    unpriced: int = 0

    def add(self, line: BatchLine, sign: int = 1) -> None:
        """Counts a line, or with `sign=-1` takes it out again."""
        self.lines += sign
        self.bytes += sign * len(line.content)
        self.tokens += sign * line.tokens
        self.most_usd += sign * (line.most_usd or 0.0)
        self.unpriced += sign * (line.most_usd is None)


Refusal = Literal["full", "tokens", "money"]


@dataclass(slots=True)
class FoundInJournal:
    """What became of requests on their way into batches.

    Attributes:
        batches: numbers of the open batches that hold some of them.
        elsewhere: how many an engine is asking at this moment.
        spent: keys of those that were in as many batches as a request may be.
    """

    batches: set[int] = field(default_factory=set)
    elsewhere: int = 0
    spent: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class ShardWriter:
    """One batch while it is written.

    Attributes:
        table: where its requests are claimed.
        model: whom it asks.
        purpose: what its answers are for.
        settings: how large it may be.
        fresh: whether requests are asked whose answers the journal has.
        retry_failed: whether those are asked that failed for good.
        asked: keys that this command has asked already, which neither applies to.
        found: what became of the requests so far.
        size: lines, bytes, tokens and price so far.
    """

    table: BatchTable
    model: BatchedModel
    purpose: str
    settings: BatchSettings
    fresh: bool = False
    retry_failed: bool = False
    asked: Collection[bytes] = ()
    found: FoundInJournal = field(default_factory=FoundInJournal)
    size: ShardSize = field(default_factory=ShardSize)
    _batch: StoredBatch | None = None
    _waiting: list[BatchLine] = field(default_factory=list)

    def refuses(self, line: BatchLine, spare_usd: float | None, spare_tokens: float | None) -> Refusal | None:
        """Why a line does not go into this batch; `None` where it does.

        Args:
            line: the next one.
            spare_usd: what may be spent beyond this batch as it is; `None` for no limit.
            spare_tokens: tokens that may wait at the service beyond this batch as it is; `None` for no limit.
        """
        if self.size.lines >= self.settings.most_lines:
            return "full"
        if self.size.lines and self.size.bytes + len(line.content) > self.settings.most_bytes:
            return "full"
        if spare_tokens is not None and line.tokens > spare_tokens:
            return "tokens"
        # Costs are sums of floats: a rounding error over the budget is the budget.
        return "money" if spare_usd is not None and (line.most_usd or 0.0) > spare_usd + 1e-12 else None

    def add(self, line: BatchLine) -> None:
        """Puts a line into the batch, unless the journal has its answer or something else asks it."""
        self._waiting.append(line)
        self.size.add(line)
        if len(self._waiting) >= CLAIM_LINES:
            self._flush()

    def finish(self) -> StoredBatch | None:
        """The batch, ready to be sent; `None` where no line went into it."""
        self._flush()
        if self._batch is None:
            return None
        if not self.size.lines:
            self.abandon()
            return None
        batch, self._batch = self._batch, None
        part = _part_of(batch)
        with part.open("r+b") as written:  # Windows syncs no file that is open for reading only
            os.fsync(written.fileno())
        part.replace(input_of(batch))
        size = self.size
        most_usd = None if size.unpriced else size.most_usd
        facts = {"lines": size.lines, "bytes": size.bytes, "tokens": round(size.tokens)}
        return self.table.advance(batch, "written", most_usd=most_usd, **facts)

    def abandon(self) -> None:
        """Gives up a batch that was not finished."""
        if self._batch is not None:
            self.table.discard(self._batch)
            shutil.rmtree(folder_of(self._batch), ignore_errors=True)
            self._batch = None

    def _flush(self) -> None:
        lines, self._waiting = self._waiting, []
        if not lines:
            return
        if self._batch is None:
            self._batch = self._begin()
        keys = [line.key for line in lines]
        claimed = self.table.claim(
            self._batch,
            keys,
            most_attempts=self.settings.most_attempts,
            again=() if not self.fresh else [key for key in keys if key not in self.asked],
            retried=() if not self.retry_failed else [key for key in keys if key not in self.asked],
            final=FINAL,
        )
        taken = set(claimed.taken)
        with _part_of(self._batch).open("ab") as file:
            for line in lines:
                if line.key in taken:
                    taken.discard(line.key)
                    file.write(line.content)
                else:
                    self.size.add(line, -1)
        self.found.spent |= claimed.spent
        self.found.elsewhere += len(claimed.elsewhere)
        self.found.batches.update(claimed.waiting.values())

    def _begin(self) -> StoredBatch:
        model = self.model
        batch = self.table.begin(
            token=secrets.token_hex(8),
            purpose=self.purpose,
            # Of several endpoints of one model the first is the one that is asked by batch.
            endpoint=model.endpoint.model_copy(update={"others": ()}).model_dump_json(exclude_defaults=True),
            address=model.endpoint.address,
            model=model.endpoint.model,
            operation=model.operation,
            identity=model.identity,
        )
        folder_of(batch).mkdir(parents=True, mode=0o700)
        part = _part_of(batch)
        part.touch(mode=0o600)
        return batch


def _part_of(batch: StoredBatch) -> Path:
    return input_of(batch).with_suffix(".part")

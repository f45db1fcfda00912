"""What a service made of a batch, read line by line into the journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from luthier.batches.shards import input_of, request_in
from luthier.engine.ask_options import FINAL
from luthier.engine.estimates import Pricing
from luthier.journal.journal import Journal, JournalEntry
from luthier.journal.stored_batches import StoredBatch
from luthier.providers import PROVIDERS
from luthier.providers.endpoint import Endpoint
from luthier.providers.exchange import Answer, Operation, Request, Usage
from luthier.providers.keys import answer_key, key_prefix
from luthier.providers.redaction import redact, redact_bytes
from luthier.providers.tokens import UNITS_PER_TOKEN
from luthier.providers.transport import Reply
from luthier.replies.failures import Verdict, judge
from luthier.replies.reading import ReplyPart, Unreadable, read_answer, read_call

__all__ = ["Harvest", "harvested"]

COMMIT_LINES = 500
"""Lines of a batch that are committed together. A harvest that is killed begins again; it commits the same."""

PASSING = frozenset({"access", "quota", "unknown_model"})
"""Causes that say nothing about a row where the batch has answers to others."""


@dataclass(slots=True)
class Harvest:
    """What a batch brought.

    Attributes:
        answered: requests with an answer.
        failed: requests that failed for good.
        settled: their keys.
        spent_usd: price of the answers; `None` when one is unknown.
        malformed: lines that are no answers to a request of the batch.
        models: what the service says answered.
        renamed: requests whose answers came from another model than the one they were asked of, and are kept as its.
        common: the failure that all lines have in common, which a person can remove; nothing of it is kept.
    """

    answered: int = 0
    failed: int = 0
    settled: set[bytes] = field(default_factory=set)
    spent_usd: float | None = 0.0
    malformed: int = 0
    models: set[str] = field(default_factory=set)
    renamed: int = 0
    common: Verdict | None = None


def harvested(
    batch: StoredBatch,
    endpoint: Endpoint,
    files: Sequence[Path],
    keys: set[bytes],
    journal: Journal,
    pricing: Pricing,
    secrets: Sequence[str],
    *,
    proved: bool,
    note: Callable[[bytes, Answer], None],
) -> Harvest:
    """Commits every answer and every failure of a batch.

    Args:
        batch: the one that has ended.
        endpoint: who answered.
        files: what the service wrote, answers before failures.
        keys: of the batch's requests.
        journal: where they are kept.
        pricing: what they cost.
        secrets: keys that a service may repeat.
        proved: whether the endpoint has answered requests like these, so that a failure is its row's own.
        note: is told of every request that is settled.
    """
    harvest, held = Harvest(), list[tuple[JournalEntry, Verdict]]()
    lines = chain.from_iterable(map(_lines, files))
    reader = _Reader(batch, endpoint, pricing, secrets, harvest)
    waiting: list[JournalEntry] = []

    def keep(key: bytes, entry: JournalEntry) -> None:
        waiting.append(entry)
        if entry.state == "answered" or entry.failure in FINAL:
            harvest.settled.add(key)
            harvest.renamed += entry.key != key
            harvest.answered += entry.state == "answered"
            harvest.failed += entry.state == "failed"
            note(entry.key, Answer(failure=entry.failure))  # type: ignore[arg-type]
        if len(waiting) >= COMMIT_LINES:
            journal.put(waiting)
            waiting.clear()

    for line in lines:
        key = _key(line)
        if key is None or key not in keys or key in harvest.settled:
            harvest.malformed += 1
            continue
        entry, verdict = reader.entry(key, line)
        if verdict is None or (verdict.cause is None and verdict.suspected is None):
            keep(key, entry)
        else:
            held.append((entry, verdict))
    if held and not (proved or harvest.answered) and len(held) == len(keys):
        verdict = held[0][1]
        if verdict.cause is not None or len(held) > 1:
            # As with a live call: what every request would meet is not kept as the rows' own.
            harvest.common = replace(verdict, cause=verdict.cause or verdict.suspected)
            held = []
    for entry, verdict in held:
        # What only the words of a message tell is disproved by the answers to others.
        passing = not verdict.by_words and (verdict.cause in PASSING or verdict.suspected in PASSING)
        keep(entry.key, replace(entry, failure="transient") if passing else entry)
    journal.put(waiting)
    return harvest


class _Reader:
    """Reads lines of one batch as entries of the journal."""

    def __init__(
        self, batch: StoredBatch, endpoint: Endpoint, pricing: Pricing, secrets: Sequence[str], harvest: Harvest
    ) -> None:
        self._batch, self._endpoint, self._pricing = batch, endpoint, pricing
        self._secrets, self._harvest = secrets, harvest
        self._operation: Operation = batch.operation  # type: ignore[assignment]
        self._asked: dict[bytes, bytes] | None = None
        self._units = UNITS_PER_TOKEN * batch.tokens / max(1, batch.lines)

    def entry(self, key: bytes, line: Mapping[str, Any]) -> tuple[JournalEntry, Verdict | None]:
        """What the journal keeps of a line, and why it is no answer, if it is none."""
        response = line.get("response")
        if not isinstance(response, Mapping):
            return self._failed(key, _unfinished(line, self._secrets))
        status = response.get("status_code")
        body = json.dumps(response.get("body"), separators=(",", ":")).encode()
        body = redact_bytes(body, self._secrets)
        if type(status) is not int or not 200 <= status < 300:
            reply = Reply(status if type(status) is int else 500, {}, body, 0.0)
            return self._failed(key, judge(reply, self._secrets, self._operation))
        try:
            part = self._part(body)
        except Unreadable as error:
            words = redact(f"unreadable answer: {error}", self._secrets)
            return self._failed(key, Verdict("transient", words, status=status))
        return self._answered(key, part, status), None

    def _part(self, body: bytes) -> ReplyPart:
        if self._operation != "embedding":
            return ReplyPart(read_answer(body, self._operation), body)
        (part,) = read_call(body, (1.0,))
        if isinstance(part, Unreadable):
            raise part
        return part

    def _answered(self, key: bytes, part: ReplyPart, status: int) -> JournalEntry:
        answer, harvest = part.answer, self._harvest
        usage: Usage = self._pricing.guess(self._endpoint).completed(answer.usage, self._units)
        cost = self._pricing.prices.cost(self._endpoint, usage, answer.model, batched=True)
        if harvest.spent_usd is not None:
            harvest.spent_usd = None if cost is None else harvest.spent_usd + cost
        identity = self._batch.identity
        if answer.model is not None:
            harvest.models.add(answer.model)
            now = PROVIDERS[self._endpoint.provider].identity(self._endpoint, answer.model) or identity
            if now != identity and (request := self._request(key)) is not None:
                # Another model was deployed under the name meanwhile: its answer is not kept as the old one's.
                key, identity = answer_key(key_prefix(self._endpoint, now), request), now
        return JournalEntry(
            key=key,
            state="answered",
            operation=self._operation,
            identity=identity,
            model=self._batch.model,
            reported_model=answer.model,
            status=status,
            body=part.body,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=cost,
        )

    def _request(self, key: bytes) -> Request | None:
        if self._asked is None:
            file = input_of(self._batch)
            lines = file.read_bytes().splitlines() if file.exists() else []
            self._asked = {bytes.fromhex(json.loads(line)["custom_id"]): line for line in lines}
        line = self._asked.get(key)
        if line is None:
            return None
        return request_in(line, key, self._batch.identity, self._endpoint, self._operation)

    def _failed(self, key: bytes, verdict: Verdict) -> tuple[JournalEntry, Verdict]:
        entry = JournalEntry(
            key=key,
            state="failed",
            operation=self._operation,
            identity=self._batch.identity,
            model=self._batch.model,
            failure=verdict.kind if verdict.kind in FINAL else "transient",
            status=verdict.status,
            error=verdict.message,
        )
        return entry, verdict


def _unfinished(line: Mapping[str, Any], secrets: Sequence[str]) -> Verdict:
    """A request that the service did not come to, as where its batch expired."""
    error = line.get("error")
    said = error.get("message") or error.get("code") if isinstance(error, Mapping) else None
    return Verdict("transient", redact(str(said or "the batch has no answer to this request"), secrets))


def _lines(file: Path) -> Iterator[Mapping[str, Any]]:
    with file.open("rb") as content:
        for raw in content:
            if not raw.strip():
                continue
            try:
                line = json.loads(raw)
            except (ValueError, RecursionError):
                line = None
            yield line if isinstance(line, Mapping) else {}


def _key(line: Mapping[str, Any]) -> bytes | None:
    try:
        return bytes.fromhex(line["custom_id"])
    except (KeyError, TypeError, ValueError):
        return None

"""The task that processes batches, one at a time; each line takes the route that a request would take.

An answer is stored before the next line begins: after a kill, only the lines in flight are answered again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from luthier_local.api_errors import ApiError
from luthier_local.jobs.batch_lines import Fault, Line, fault, plain_url, read_lines
from luthier_local.jobs.job_store import JobStore, StoredObject, now, packed, take_lock

AnswerLine = Callable[[str, dict[str, Any]], Awaitable[tuple[int, dict[str, Any]]]]
"""Answers a request's body as the generating route of that name would: the status and the body."""

__all__ = ["UNFINISHED_BATCHES", "AnswerLine", "BatchWorker", "LocalBatch"]

_log = logging.getLogger(__name__)

UNFINISHED_BATCHES = ("validating", "in_progress", "finalizing", "cancelling")
_IN_FLIGHT = 8
_IDLE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


class LocalBatch(StoredObject):
    """One batch in the store."""

    table, first_status = "batches", "validating"

    def counts(self) -> dict[str, int]:
        """Counts the lines, those answered, and those answered with an error."""
        answered, failed = self.store.rows(
            "select count(*), coalesce(sum(status >= 400), 0) from lines where batch = ?", self.id
        )[0]
        return {"total": self.record["_total"], "completed": answered - failed, "failed": failed}

    def end(self, status: str, **changes: Any) -> None:
        """Ends the batch, and deletes what was kept to answer it."""
        with self.store.writing() as write:
            self.change(write, status, None, **{f"{status}_at": now(), **changes})
            write.execute("delete from lines where batch = ?", (self.id,))
        shutil.rmtree(self.work, ignore_errors=True)

    def fail(self, faults: Sequence[Fault], **changes: Any) -> None:
        """Ends the batch as failed."""
        self.end("failed", errors={"object": "list", "data": faults}, **changes)


class BatchWorker:
    """Processes the batches of a server's store, on its event loop.

    Args:
        store: Where batches are.
        answer_line: Answers a line.
        serves: Whether there is a model of that name.
    """

    def __init__(self, store: JobStore, answer_line: AnswerLine, serves: Callable[[str], bool]) -> None:
        self._store = store
        self._answer_line = answer_line
        self._serves = serves
        self._task: asyncio.Task[None] | None = None
        self._nudged = asyncio.Event()

    def start(self) -> None:
        """Starts the task if it is not running, and has it look for work at once."""
        self._nudged.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(self._store.folder / "batches.lock"))

    async def stop(self) -> None:
        """Stops the task; a later server continues."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self, path: Path) -> None:
        lock = FileLock(path, mode=0o600)
        pause = _IDLE_SECONDS
        try:
            while True:
                self._nudged.clear()
                try:
                    # Held by another server of this folder while it processes batches; this one takes over afterwards.
                    worked = take_lock(lock) and await self._work_next()
                except (OSError, sqlite3.Error):
                    # A full disk: stored answers stay, and the work continues once there is room.
                    if pause == _IDLE_SECONDS:
                        _log.exception("batches cannot be processed")
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                    continue
                pause = _IDLE_SECONDS
                if not worked:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._nudged.wait(), _IDLE_SECONDS)
        finally:
            lock.release()

    async def _work_next(self) -> bool:
        """Processes one batch; returns whether there was one."""
        marks = ", ".join("?" * len(UNFINISHED_BATCHES))
        row = self._store.row(
            f"select id from batches where status in ({marks}) order by number limit 1", *UNFINISHED_BATCHES
        )
        if row is not None:
            await self._work(LocalBatch(self._store, row["id"]))
        return row is not None

    async def _work(self, batch: LocalBatch) -> None:
        try:
            await self._go_through(batch)
        except FileNotFoundError:
            batch.fail([fault("file_not_found", "The server's copy of the input file is gone.", None, "input_file_id")])
        except (OSError, sqlite3.Error):
            raise
        except Exception as error:
            # A bug here must not stop the batches behind this one.
            _log.exception("batch %s", batch.id)
            batch.fail([fault("server_error", f"{type(error).__name__}: {error}")])

    async def _go_through(self, batch: LocalBatch) -> None:
        lines, faults = await asyncio.to_thread(read_lines, batch.work / "input.jsonl", batch.record["endpoint"])
        if batch.row()["status"] == "validating":
            model = lines[0].body["model"] if lines else None
            if not faults and not self._serves(str(model)):
                message = f"The model `{model}` does not exist."
                faults = [fault("model_not_found", message, lines[0].number, "body.model")]
            if faults:
                batch.fail(faults, model=model)
                return
            batch.move("in_progress", ["validating"], in_progress_at=now(), model=model, _total=len(lines))
        if batch.row()["status"] == "in_progress":
            if not await self._answer_in_time(batch, lines):
                await asyncio.to_thread(_write_files, batch, lines, expired=True)
                batch.end("expired")
                return
            batch.move("finalizing", ["in_progress"], finalizing_at=now())
        await asyncio.to_thread(_write_files, batch, lines, expired=False)
        batch.end("cancelled" if batch.row()["status"] == "cancelling" else "completed")

    async def _answer_in_time(self, batch: LocalBatch, lines: list[Line]) -> bool:
        """Answers the remaining lines until the batch is cancelled; false: its time ran out first."""
        done = {row["number"] for row in self._store.rows("select number from lines where batch = ?", batch.id)}
        left = iter([line for line in lines if line.number not in done])
        route = plain_url(batch.record["endpoint"])
        askers = [asyncio.create_task(self._answer(batch, route, left)) for _ in range(_IN_FLIGHT)]
        asking = asyncio.gather(*askers)
        try:
            while not asking.done():
                seconds = batch.record["_expires"] - time.time()
                if seconds <= 0:
                    return False
                nudged = asyncio.ensure_future(self._nudged.wait())
                waited: set[asyncio.Future[Any]] = {asking, nudged}
                # The request to cancel may reach another server of this folder, which cannot nudge this one.
                await asyncio.wait(waited, timeout=min(seconds, _IDLE_SECONDS), return_when=asyncio.FIRST_COMPLETED)
                nudged.cancel()
                self._nudged.clear()
                if batch.row()["status"] == "cancelling":
                    return True
            await asking
        finally:
            # All of them: after one has failed, the others would run on beside those of the next attempt.
            for asker in askers:
                asker.cancel()
            await asyncio.gather(asking, *askers, return_exceptions=True)
        return True

    async def _answer(self, batch: LocalBatch, route: str, left: Iterator[Line]) -> None:
        for line in left:
            # A backend may answer without ever waiting: other requests get a turn between two lines.
            await asyncio.sleep(0)
            try:
                status, body = await self._answer_line(route, line.body)
            except Exception as error:
                # A bug here is reported as for a direct request; the other lines are still answered.
                _log.exception("batch %s, line %d", batch.id, line.number)
                refused = ApiError(500, f"{type(error).__name__} in the embedded server.", kind="server_error")
                status, body = refused.status, refused.body()
            with self._store.writing() as write:
                write.execute(
                    "insert or ignore into lines values (?, ?, ?, ?, ?)",
                    (batch.id, line.number, line.custom_id, status, packed(body)),
                )


def _write_files(batch: LocalBatch, lines: list[Line], expired: bool) -> None:
    """Writes the output and the error file, in the order of the input."""
    store, number = batch.store, batch.id.removeprefix("batch_")
    found = {row["number"]: row for row in store.rows("select * from lines where batch = ?", batch.id)}
    written: dict[str, list[str]] = {"output": [], "error": []}
    total: Counter[str] = Counter()
    for line in lines:
        row = found.get(line.number)
        place = f"{number[:16]}{line.number:08d}"
        answer: dict[str, Any] = {
            "id": f"batch_req_{place}",
            "custom_id": line.custom_id,
            "response": None,
            "error": None,
        }
        if row is not None:
            body = json.loads(row["body"])
            answer["response"] = {"status_code": row["status"], "request_id": f"req_{place}", "body": body}
            written["output" if row["status"] < 400 else "error"].append(packed(answer))
            total.update(_usage(body))
        elif expired:
            message = "This request could not be executed before the completion window expired."
            written["error"].append(packed({**answer, "error": {"code": "batch_expired", "message": message}}))
    changes: dict[str, Any] = {
        "usage": {
            "input_tokens": total["input"],
            "input_tokens_details": {"cached_tokens": total["cached"]},
            "output_tokens": total["output"],
            "output_tokens_details": {"reasoning_tokens": total["reasoning"]},
            "total_tokens": total["input"] + total["output"],
        },
        "request_counts": {**batch.counts(), "total": len(lines)},
    }
    for kind, rows in written.items():
        if rows:
            content = "".join(row + "\n" for row in rows).encode("utf-8", "surrogatepass")
            identity = changes[f"{kind}_file_id"] = f"file-{number[:20]}{kind[:2]}"
            expires = batch.record["_files_expire"]
            store.add_file("batch_output", f"{batch.id}_{kind}.jsonl", content, identity, expires)
    with store.writing() as write:
        batch.change(write, None, **changes)


def _usage(body: dict[str, Any]) -> dict[str, int]:
    """Tokens of an answer, under the names of either route."""
    usage = body.get("usage") or {}
    read = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    written = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    return {
        "input": usage.get("prompt_tokens", usage.get("input_tokens", 0)),
        "output": usage.get("completion_tokens", usage.get("output_tokens", 0)),
        "cached": read.get("cached_tokens", 0),
        "reasoning": written.get("reasoning_tokens", 0),
    }

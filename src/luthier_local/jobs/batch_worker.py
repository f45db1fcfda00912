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
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from luthier_local.api_errors import ApiError
from luthier_local.jobs.batch_lines import Line, plain_url, read_lines
from luthier_local.jobs.job_store import JobStore, change, now, packed, take_lock

AnswerLine = Callable[[str, dict[str, Any]], Awaitable[tuple[int, dict[str, Any]]]]
"""Answers a request's body as the generating route of that name would: the status and the body."""

__all__ = ["UNFINISHED_BATCHES", "AnswerLine", "BatchWorker", "counts_of"]

_log = logging.getLogger(__name__)

UNFINISHED_BATCHES = ("validating", "in_progress", "finalizing", "cancelling")
_IN_FLIGHT = 8
_IDLE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


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
            await self._work(row["id"])
        return row is not None

    async def _work(self, batch: str) -> None:
        try:
            await self._go_through(batch)
        except FileNotFoundError:
            message = "The server's copy of the input file is gone."
            fault = {"code": "file_not_found", "line": None, "message": message, "param": "input_file_id"}
            self._fail(batch, [fault])
        except (OSError, sqlite3.Error):
            raise
        except Exception as error:
            # A bug here must not stop the batches behind this one.
            _log.exception("batch %s", batch)
            fault = {"code": "server_error", "line": None, "message": f"{type(error).__name__}: {error}", "param": None}
            self._fail(batch, [fault])

    async def _go_through(self, batch: str) -> None:
        status, record = self._read(batch)
        lines, errors = await asyncio.to_thread(read_lines, self._store.work(batch) / "input.jsonl", record["endpoint"])
        if status == "validating":
            model = lines[0].body["model"] if lines else None
            if errors:
                self._fail(batch, errors, model=model)
                return
            if not self._serves(str(model)):
                message = f"The model `{model}` does not exist."
                fault = {"code": "model_not_found", "line": lines[0].number, "message": message, "param": "body.model"}
                self._fail(batch, [fault], model=model)
                return
            self._change(batch, "in_progress", ["validating"], in_progress_at=now(), model=model, _total=len(lines))
            status, record = self._read(batch)
        if status == "in_progress":
            if not await self._answer_in_time(batch, record, lines):
                await asyncio.to_thread(self._write_files, batch, lines, expired=True)
                self._end(batch, "expired")
                return
            self._change(batch, "finalizing", ["in_progress"], finalizing_at=now())
            status, record = self._read(batch)
        await asyncio.to_thread(self._write_files, batch, lines, expired=False)
        if status == "cancelling":
            self._end(batch, "cancelled")
        else:
            self._end(batch, "completed")

    async def _answer_in_time(self, batch: str, record: dict[str, Any], lines: list[Line]) -> bool:
        """Answers the remaining lines until the batch is cancelled; false: its time ran out first."""
        done = {row["number"] for row in self._store.rows("select number from lines where batch = ?", batch)}
        left = iter([line for line in lines if line.number not in done])
        route = plain_url(record["endpoint"])
        askers = [asyncio.create_task(self._answer(batch, route, left)) for _ in range(_IN_FLIGHT)]
        asking = asyncio.gather(*askers)
        try:
            while not asking.done():
                seconds = record["_expires"] - time.time()
                if seconds <= 0:
                    return False
                nudged = asyncio.ensure_future(self._nudged.wait())
                waited: set[asyncio.Future[Any]] = {asking, nudged}
                # The request to cancel may reach another server of this folder, which cannot nudge this one.
                await asyncio.wait(waited, timeout=min(seconds, _IDLE_SECONDS), return_when=asyncio.FIRST_COMPLETED)
                nudged.cancel()
                self._nudged.clear()
                if self._read(batch)[0] == "cancelling":
                    return True
            await asking
        finally:
            # All of them: after one has failed, the others would run on beside those of the next attempt.
            for asker in askers:
                asker.cancel()
            await asyncio.gather(*askers, return_exceptions=True)
        return True

    async def _answer(self, batch: str, route: str, left: Iterator[Line]) -> None:
        for line in left:
            # A backend may answer without ever waiting: other requests get a turn between two lines.
            await asyncio.sleep(0)
            try:
                status, body = await self._answer_line(route, line.body)
            except Exception as error:
                # A bug here is reported as for a direct request; the other lines are still answered.
                _log.exception("batch %s, line %d", batch, line.number)
                refused = ApiError(500, f"{type(error).__name__} in the embedded server.", kind="server_error")
                status, body = refused.status, refused.body()
            with self._store.writing() as write:
                write.execute(
                    "insert or ignore into lines values (?, ?, ?, ?, ?)",
                    (batch, line.number, line.custom_id, status, packed(body)),
                )

    def _write_files(self, batch: str, lines: list[Line], expired: bool) -> None:
        """Writes the output and the error file, in the order of the input."""
        found = {row["number"]: row for row in self._store.rows("select * from lines where batch = ?", batch)}
        output: list[str] = []
        errors: list[str] = []
        usage = [0, 0, 0, 0]
        for line in lines:
            row = found.get(line.number)
            shown: dict[str, Any] = {
                "id": f"batch_req_{batch.removeprefix('batch_')[:16]}{line.number:08d}",
                "custom_id": line.custom_id,
                "response": None,
                "error": None,
            }
            if row is None:
                if expired:
                    message = "This request could not be executed before the completion window expired."
                    errors.append(packed({**shown, "error": {"code": "batch_expired", "message": message}}))
                continue
            body = json.loads(row["body"])
            request = f"req_{batch.removeprefix('batch_')[:16]}{line.number:08d}"
            shown["response"] = {"status_code": row["status"], "request_id": request, "body": body}
            (output if row["status"] < 400 else errors).append(packed(shown))
            usage = [total + more for total, more in zip(usage, _usage(body), strict=True)]
        named: dict[str, Any] = {
            "usage": {
                "input_tokens": usage[0],
                "input_tokens_details": {"cached_tokens": usage[2]},
                "output_tokens": usage[1],
                "output_tokens_details": {"reasoning_tokens": usage[3]},
                "total_tokens": usage[0] + usage[1],
            }
        }
        record = self._read(batch)[1]
        for kind, written in (("output", output), ("error", errors)):
            if written:
                content = "".join(line + "\n" for line in written).encode("utf-8", "surrogatepass")
                identity = f"file-{batch.removeprefix('batch_')[:20]}{kind[:2]}"
                self._store.add_file(
                    "batch_output", f"{batch}_{kind}.jsonl", content, identity, record["_files_expire"]
                )
                named[f"{kind}_file_id"] = identity
        named["request_counts"] = {**counts_of(self._store, batch, record), "total": len(lines)}
        self._change(batch, None, None, **named)

    def _read(self, batch: str) -> tuple[str, dict[str, Any]]:
        row = self._store.row("select status, record from batches where id = ?", batch)
        assert row is not None, batch
        return row["status"], json.loads(row["record"])

    def _change(
        self, batch: str, status: str | None = None, since: Sequence[str] | None = None, **changes: Any
    ) -> None:
        with self._store.writing() as write:
            change(write, "batches", batch, status, since, **changes)

    def _end(self, batch: str, status: str, **changes: Any) -> None:
        with self._store.writing() as write:
            change(write, "batches", batch, status, None, **{f"{status}_at": now()}, **changes)
            write.execute("delete from lines where batch = ?", (batch,))
        shutil.rmtree(self._store.work(batch), ignore_errors=True)

    def _fail(self, batch: str, errors: list[dict[str, Any]], **changes: Any) -> None:
        self._end(batch, "failed", errors={"object": "list", "data": errors}, **changes)


def counts_of(store: JobStore, batch: str, record: dict[str, Any]) -> dict[str, int]:
    """Counts the lines, those answered, and those answered with an error."""
    found: sqlite3.Row | None = store.row(
        "select count(*) as answered, coalesce(sum(status >= 400), 0) as failed from lines where batch = ?", batch
    )
    answered, failed = (found["answered"], found["failed"]) if found is not None else (0, 0)
    return {"total": record["_total"], "completed": answered - failed, "failed": failed}


def _usage(body: dict[str, Any]) -> tuple[int, int, int, int]:
    """Input, output, cached and reasoning tokens, under the names of either route."""
    usage = body.get("usage") or {}
    read = usage.get("prompt_tokens", usage.get("input_tokens", 0))
    written = usage.get("completion_tokens", usage.get("output_tokens", 0))
    cached = (usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}).get("cached_tokens", 0)
    reasoned = (usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}).get(
        "reasoning_tokens", 0
    )
    return read, written, cached, reasoned

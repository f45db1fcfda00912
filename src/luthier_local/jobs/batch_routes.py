"""The batch routes: create, list, retrieve, cancel."""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import time
from typing import Any

from aiohttp import web

from luthier_local.api_errors import ApiError, invalid_value, no_such
from luthier_local.jobs.batch_lines import plain_url
from luthier_local.jobs.batch_worker import UNFINISHED_BATCHES, counts_of
from luthier_local.jobs.job_service import JobService
from luthier_local.jobs.job_store import change, copy_file, now, packed
from luthier_local.jobs.paging import page, read_limit, read_metadata
from luthier_local.json_bodies import decode_body, json_response
from luthier_local.routing import ApiRequest, Router

__all__ = ["add_routes"]

_WINDOW = "24h"
_KNOWN = {"completion_window", "endpoint", "input_file_id", "metadata", "output_expires_after"}
_TIMES = ("in_progress", "expires", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


def add_routes(router: Router, jobs: JobService) -> None:
    """Adds the routes."""

    async def create(received: ApiRequest) -> web.StreamResponse:
        body = decode_body(received.raw)
        record = _record(router, jobs, body)
        identity = record["id"]
        work = jobs.store.work(identity)
        try:
            copy_file(jobs.store.file(record["input_file_id"]), work / "input.jsonl")
            with jobs.store.writing() as write:
                write.execute(
                    "insert into batches (id, status, record) values (?, 'validating', ?)", (identity, packed(record))
                )
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        answer = shape(_row(identity))
        jobs.batch_worker.start()
        return json_response(answer)

    async def listed(received: ApiRequest) -> web.StreamResponse:
        query = received.request.query
        return json_response(page(jobs.store, "batches", shape, query.get("after"), read_limit(query, 20, 100)))

    async def retrieve(received: ApiRequest) -> web.StreamResponse:
        return json_response(shape(_row(received.part("id"))))

    async def cancel(received: ApiRequest) -> web.StreamResponse:
        identity = received.part("id")
        _row(identity)
        with jobs.store.writing() as write:
            row = write.execute("select * from batches where id = ?", (identity,)).fetchone()
            if row["status"] not in UNFINISHED_BATCHES:
                message = f"Batch {identity} is {row['status']}: it cannot be cancelled any more."
                raise ApiError(409, message, code="invalid_batch_status")
            if row["status"] in ("validating", "in_progress"):
                change(write, "batches", identity, "cancelling", cancelling_at=now())
        jobs.batch_worker.start()
        return json_response(shape(_row(identity)))

    def _row(identity: str) -> sqlite3.Row:
        found = jobs.store.row("select * from batches where id = ?", identity)
        if found is None:
            raise no_such("batch", identity)
        return found

    def shape(row: sqlite3.Row) -> dict[str, Any]:
        record = json.loads(row["record"])
        if "request_counts" not in record:
            record["request_counts"] = counts_of(jobs.store, row["id"], record)
        shown = {key: value for key, value in record.items() if not key.startswith("_")}
        return {**shown, "status": row["status"]}

    router.add("POST", "batches", create)
    router.add("GET", "batches", listed)
    router.add("GET", "batches/{id}", retrieve)
    router.add("POST", "batches/{id}/cancel", cancel)


def _record(router: Router, jobs: JobService, body: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(body) - _KNOWN)
    if unknown:
        raise ApiError(
            400, f"Unrecognized request argument supplied: {unknown[0]}", param=unknown[0], code="unknown_parameter"
        )
    endpoint = body.get("endpoint")
    if not isinstance(endpoint, str) or plain_url(endpoint) not in router.generating:
        allowed = ", ".join(f"/v1/{name}" for name in router.generating)
        raise invalid_value("endpoint", f"{str(endpoint)[:60]!r} is not one of {allowed}.")
    if body.get("completion_window") != _WINDOW:
        raise invalid_value("completion_window", f"expected '{_WINDOW}'.")
    given = body.get("input_file_id")
    found = jobs.store.find_file(given) if isinstance(given, str) else None
    if found is None:
        raise invalid_value("input_file_id", f"no file {str(given)[:80]!r} was uploaded.")
    if found["purpose"] != "batch":
        raise invalid_value("input_file_id", f"{given} was uploaded for {found['purpose']}, not for batch.")
    expires = time.time() + jobs.settings.batch_window_seconds
    return {
        "id": f"batch_{secrets.token_hex(16)}",
        "object": "batch",
        "endpoint": endpoint,
        "errors": None,
        "input_file_id": given,
        "completion_window": _WINDOW,
        "output_file_id": None,
        "error_file_id": None,
        "created_at": now(),
        **{f"{name}_at": None for name in _TIMES},
        "expires_at": round(expires),
        "metadata": read_metadata(body),
        "model": None,
        "usage": None,
        "_total": 0,
        "_expires": expires,
        "_files_expire": _files_expire(body),
    }


def _files_expire(body: dict[str, Any]) -> int | None:
    given = body.get("output_expires_after")
    if given is None:
        return None
    seconds = given.get("seconds") if isinstance(given, dict) else None
    if not isinstance(seconds, int) or not 3600 <= seconds <= 2_592_000:
        raise invalid_value("output_expires_after.seconds", "expected 3600 (an hour) to 2592000 (30 days).")
    return now() + seconds

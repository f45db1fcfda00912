"""The batch routes: create, list, retrieve, cancel."""

from __future__ import annotations

import secrets
import sqlite3
import time
from typing import Any

from luthier_local.api_errors import ApiError, invalid_value, no_such
from luthier_local.jobs.batch_lines import fault, plain_url
from luthier_local.jobs.batch_worker import UNFINISHED_BATCHES, LocalBatch
from luthier_local.jobs.job_service import JobService
from luthier_local.jobs.job_store import now, shown
from luthier_local.jobs.paging import page, read_metadata
from luthier_local.json_bodies import decode_body, read_seconds_kept, refuse_unknown
from luthier_local.routing import ApiRequest, Router

__all__ = ["add_routes"]

_WINDOW, _WINDOW_SECONDS = "24h", 86_400
_KNOWN = {"completion_window", "endpoint", "input_file_id", "metadata", "output_expires_after"}
_TIMES = ("in_progress", "expires", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


def add_routes(router: Router, jobs: JobService) -> None:
    """Adds the routes."""

    def create(received: ApiRequest) -> dict[str, Any]:
        body = decode_body(received.raw)
        record = _record(router, jobs, body)
        batch = LocalBatch.begin(jobs.store, record, {"input.jsonl": record["input_file_id"]})
        limit = jobs.settings.batch_queue_tokens
        if limit is not None and _waiting_tokens(jobs) > limit:
            message = (
                f"Enqueued token limit reached. Limit: {limit:,} enqueued tokens. "
                "Please try again once some in_progress batches have been completed."
            )
            batch.fail([fault("token_limit_exceeded", message)])
        answer = shape(batch.row())
        jobs.batch_worker.start()
        return answer

    def listed(received: ApiRequest) -> dict[str, Any]:
        return page(jobs.store, "batches", shape, received.request.query, 20, 100)

    def retrieve(received: ApiRequest) -> dict[str, Any]:
        return shape(_row(received.part("id")))

    def cancel(received: ApiRequest) -> dict[str, Any]:
        batch = LocalBatch(jobs.store, _row(received.part("id"))["id"])
        if not batch.move("cancelling", ("validating", "in_progress"), cancelling_at=now()):
            status = batch.row()["status"]
            if status not in UNFINISHED_BATCHES:
                message = f"Batch {batch.id} is {status}: it cannot be cancelled any more."
                raise ApiError(409, message, code="invalid_batch_status")
        jobs.batch_worker.start()
        return shape(batch.row())

    def _row(identity: str) -> sqlite3.Row:
        found = jobs.store.row("select * from batches where id = ?", identity)
        if found is None:
            raise no_such("batch", identity)
        return found

    def shape(row: sqlite3.Row) -> dict[str, Any]:
        # Kept with a batch once it has ended.
        return {"request_counts": LocalBatch(jobs.store, row["id"]).counts(), **shown(row)}

    router.add("POST", "batches", create)
    router.add("GET", "batches", listed)
    router.add("GET", "batches/{id}", retrieve)
    router.add("POST", "batches/{id}/cancel", cancel)


def _waiting_tokens(jobs: JobService) -> int:
    """Estimated tokens of the unfinished batches."""
    marks = ", ".join("?" * len(UNFINISHED_BATCHES))
    rows = jobs.store.rows(f"select id from batches where status in ({marks})", *UNFINISHED_BATCHES)
    files = [jobs.store.work(row["id"]) / "input.jsonl" for row in rows]
    return sum(file.stat().st_size for file in files if file.exists()) // 4


def _record(router: Router, jobs: JobService, body: dict[str, Any]) -> dict[str, Any]:
    refuse_unknown(body, _KNOWN)
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
    kept = body.get("output_expires_after")
    seconds = kept.get("seconds") if isinstance(kept, dict) else None
    expires = time.time() + _WINDOW_SECONDS
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
        "_files_expire": None if kept is None else now() + read_seconds_kept(seconds, "output_expires_after.seconds"),
    }

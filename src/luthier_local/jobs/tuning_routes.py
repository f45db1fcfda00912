"""The fine-tuning routes: jobs, their events and checkpoints, and the models they leave."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
from typing import Any

from aiohttp import web

from luthier_local.api_errors import ApiError, invalid_value
from luthier_local.jobs.job_requests import HASHED, WORDLLAMA_TABLE, new_record
from luthier_local.jobs.job_service import JobService
from luthier_local.jobs.job_store import JobStore, shown
from luthier_local.jobs.paging import page
from luthier_local.jobs.stored_job import UNFINISHED, StoredJob
from luthier_local.json_bodies import decode_body
from luthier_local.model_registry import ModelRegistry
from luthier_local.routing import ApiRequest, Router

__all__ = ["add_routes"]

_TABLES = {"tunable": WORDLLAMA_TABLE, "tunable-hashed": HASHED}
_METADATA = re.compile(r"metadata\[(.*)\]", re.DOTALL)
_CONFIRM_SECONDS = 5.0


def add_routes(router: Router, jobs: JobService, registry: ModelRegistry) -> None:
    """Adds the routes."""

    def shape(row: sqlite3.Row) -> dict[str, Any]:
        job = shown(row)
        if jobs.trouble is not None and row["status"] in UNFINISHED:
            # A job that waits for room reports it here: it cannot be stored.
            job["error"] = {"code": "storage_unavailable", "message": jobs.trouble, "param": None}
        return job

    def create(received: ApiRequest) -> dict[str, Any]:
        body = decode_body(received.raw)
        # The model first: a client that only checks whether it can be tuned has no file yet.
        table = _table(registry, body)
        record = new_record(_checked(jobs.store, body), table)
        named = {"training.jsonl": record["training_file"], "validation.jsonl": record["validation_file"]}
        job = StoredJob.begin(jobs.store, record, {name: file for name, file in named.items() if file is not None})
        answer = shape(job.row())
        jobs.trainer.nudge()
        return answer

    def listed(received: ApiRequest) -> dict[str, Any]:
        where, values = _metadata_filter(received.request)
        return page(jobs.store, "jobs", shape, received.request.query, 20, 100, where, values)

    def retrieve(received: ApiRequest) -> dict[str, Any]:
        return shape(_job(jobs.store, received).row())

    async def cancel(received: ApiRequest) -> dict[str, Any]:
        job = _job(jobs.store, received)
        if not job.cancel(["validating_files", "queued", "paused"]):
            _wish(job, "cancel", ("running", "pausing"), "cancelled")
            jobs.trainer.nudge()
            deadline = time.monotonic() + _CONFIRM_SECONDS
            while job.row()["status"] in ("running", "pausing") and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
        return shape(job.row())

    def pause(received: ApiRequest) -> dict[str, Any]:
        job = _job(jobs.store, received)
        _wish(job, "pause", ("running",), "paused", becomes="pausing")
        jobs.trainer.nudge()
        return shape(job.row())

    def resume(received: ApiRequest) -> dict[str, Any]:
        job = _job(jobs.store, received)
        if not job.move("queued", ["paused"]):
            raise _not_now(job, "resumed", "paused")
        jobs.trainer.nudge()
        return shape(job.row())

    def events(received: ApiRequest) -> dict[str, Any]:
        job = _job(jobs.store, received)
        return page(jobs.store, "events", _event, received.request.query, 20, 1000, "job = ?", [job.id])

    def checkpoints(received: ApiRequest) -> dict[str, Any]:
        job = _job(jobs.store, received)
        return page(jobs.store, "checkpoints", _checkpoint, received.request.query, 10, 100, "job = ?", [job.id])

    def delete_model(received: ApiRequest) -> dict[str, Any]:
        name = received.part("id")
        if not jobs.delete_model(name):
            registry.named(name)
            raise ApiError(403, f"`{name}` is a base model; only tuned models can be deleted.", param="model")
        return {"id": name, "object": "model", "deleted": True}

    root = "fine_tuning/jobs"
    router.add("POST", root, create)
    router.add("GET", root, listed)
    router.add("GET", f"{root}/{{id}}", retrieve)
    router.add("POST", f"{root}/{{id}}/cancel", cancel)
    router.add("POST", f"{root}/{{id}}/pause", pause)
    router.add("POST", f"{root}/{{id}}/resume", resume)
    router.add("GET", f"{root}/{{id}}/events", events)
    router.add("GET", f"{root}/{{id}}/checkpoints", checkpoints)
    router.add("DELETE", "models/{id:.+}", delete_model)


def _table(registry: ModelRegistry, body: dict[str, Any]) -> str:
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise invalid_value("model", "you must provide a model parameter.", None)
    card = registry.card(name)
    table = _TABLES.get(card.backend) if card is not None else None
    if table is None:
        bases = [card.id for card in registry.cards() if card.backend in _TABLES]
        message = f"Model {name[:200]} is not available for fine-tuning or does not exist."
        message += f" Can be tuned here: {', '.join(bases) or 'none'}."
        raise ApiError(400, message, param="model", code="model_not_available")
    return table


def _checked(store: JobStore, body: dict[str, Any]) -> dict[str, Any]:
    for param in ("training_file", "validation_file"):
        given = body.get(param)
        if given is None and param == "validation_file":
            continue
        if not isinstance(given, str) or not given:
            raise invalid_value(param, "you must provide the id of an uploaded file.", None)
        found = store.find_file(given)
        if found is None:
            raise ApiError(400, f"invalid {param}: {given[:80]} does not exist", param=param, code="invalid_file")
        if found["purpose"] != "fine-tune":
            message = f"invalid {param}: {given} was uploaded for {found['purpose']}, not for fine-tune"
            raise ApiError(400, message, param=param, code="invalid_file_purpose")
    return body


def _metadata_filter(request: web.Request) -> tuple[str, list[object]]:
    where: list[str] = []
    values: list[object] = []
    for key, value in request.query.items():
        named = _METADATA.fullmatch(key)
        if named is not None:
            # Not a JSON path: a key may hold characters that have a meaning there.
            where.append("exists (select 1 from json_each(record, '$.metadata') where key = ? and value = ?)")
            values += [named[1], value]
        elif key == "metadata" and value == "null":
            where.append("json_extract(record, '$.metadata') is null")
    return " and ".join(where), values


def _job(store: JobStore, received: ApiRequest) -> StoredJob:
    identity = received.part("id")
    if store.row("select 1 from jobs where id = ?", identity) is None:
        raise ApiError(
            404, f"Could not find fine tune: {identity[:80]}", param="fine_tune_id", code="fine_tune_not_found"
        )
    return StoredJob(store, identity)


def _wish(job: StoredJob, wish: str, since: tuple[str, ...], what: str, becomes: str | None = None) -> None:
    with job.store.writing() as write:
        status = write.execute("select status from jobs where id = ?", (job.id,)).fetchone()["status"]
        if status in since:
            write.execute("update jobs set wish = ?, status = ? where id = ?", (wish, becomes or status, job.id))
            return
    raise _not_now(job, what, " or ".join(since))


def _not_now(job: StoredJob, what: str, since: str) -> ApiError:
    status = job.row()["status"]
    return ApiError(
        400,
        f"Job {job.id} is {status}: it cannot be {what}. Only a job that is {since} can.",
        code="invalid_job_status",
    )


def _event(row: sqlite3.Row) -> dict[str, Any]:
    fields = {name: row[name] for name in ("created_at", "level", "message", "type")}
    identity = f"ftevent-{row['number']:012d}"
    return {**fields, "object": "fine_tuning.job.event", "id": identity, "data": json.loads(row["data"])}


def _checkpoint(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": row["id"],
        "created_at": row["created_at"],
        "fine_tuned_model_checkpoint": row["model"],
        "fine_tuning_job_id": row["job"],
        "metrics": json.loads(row["figures"]),
        "step_number": row["step"],
    }

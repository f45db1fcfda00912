"""The files routes: upload, list, retrieve, content, delete."""

from __future__ import annotations

import base64
import os
import secrets
import sqlite3
import tempfile
from pathlib import Path
from typing import IO, Any

from aiohttp import BodyPartReader, web

from luthier_local.api_errors import ApiError, invalid_value, no_such
from luthier_local.jobs.job_service import JobService
from luthier_local.jobs.job_store import ALIVE, JobStore, now
from luthier_local.jobs.paging import page
from luthier_local.json_bodies import read_seconds_kept
from luthier_local.routing import ApiRequest, Form, Router

__all__ = ["MOST_BYTES", "add_routes"]

MOST_BYTES = {"fine-tune": 512 * 1024 * 1024, "batch": 200 * 1024 * 1024}
"""Purposes a file may be uploaded for, and the largest size of each."""

_RESULTS = "fine-tune-results"


def add_routes(router: Router, jobs: JobService) -> None:
    """Adds the routes."""

    def create(received: ApiRequest) -> dict[str, Any]:
        assert received.form is not None
        fields, path = received.form
        purpose = fields.get("purpose", "")
        if purpose not in MOST_BYTES:
            raise invalid_value("purpose", f"{purpose[:40]!r} is not one of {', '.join(MOST_BYTES)}.")
        if path is None:
            raise ApiError(400, "'file' is a required property", param="file")
        size = path.stat().st_size
        if size == 0:
            raise ApiError(400, "File is empty.", param="file", code="empty_file")
        if size > MOST_BYTES[purpose]:
            most = MOST_BYTES[purpose] // 1024 // 1024
            raise ApiError(413, f"File is too large: at most {most} MB for {purpose}.", param="file")
        identity = f"file-{secrets.token_hex(11)}"
        kept = fields.get("expires_after[seconds]")
        expires = (
            None
            if kept is None
            else now() + read_seconds_kept(int(kept) if kept.isdecimal() else None, "expires_after[seconds]")
        )
        content = jobs.store.file(identity)
        path.replace(content)
        try:
            with jobs.store.writing() as write:
                write.execute(
                    "insert into files (id, created_at, expires_at, filename, purpose, bytes) "
                    "values (?, ?, ?, ?, ?, ?)",
                    (identity, now(), expires, fields.get("filename", "file.jsonl"), purpose, size),
                )
        except BaseException:
            # Without a row no client could refer to it.
            content.unlink(missing_ok=True)
            raise
        return _shape(_existing(jobs.store, identity))

    def listed(received: ApiRequest) -> dict[str, Any]:
        query = received.request.query
        purpose = query.get("purpose")
        where, values = (f"{ALIVE} and purpose = ?", [now(), purpose]) if purpose else (ALIVE, [now()])
        return page(jobs.store, "files", _shape, query, 10_000, 10_000, where, values)

    def retrieve(received: ApiRequest) -> dict[str, Any]:
        return _shape(_existing(jobs.store, received.part("id")))

    def read_content(received: ApiRequest) -> web.StreamResponse:
        found = _existing(jobs.store, received.part("id"))
        path = jobs.store.file(found["id"])
        if found["purpose"] == _RESULTS and not received.request.path.startswith("/openai/"):
            # OpenAI gives result files in base64, Azure as they are.
            return web.Response(body=base64.b64encode(path.read_bytes()), content_type="application/octet-stream")
        return web.FileResponse(path, headers={"content-type": "application/octet-stream"})

    def delete(received: ApiRequest) -> dict[str, Any]:
        found = _existing(jobs.store, received.part("id"))
        with jobs.store.writing() as write:
            write.execute("delete from files where id = ?", (found["id"],))
        jobs.store.file(found["id"]).unlink(missing_ok=True)
        return {"id": found["id"], "object": "file", "deleted": True}

    router.add("POST", "files", create, lambda request: _read_form(request, jobs.store.folder))
    router.add("GET", "files", listed)
    router.add("GET", "files/{id}", retrieve)
    router.add("GET", "files/{id}/content", read_content)
    router.add("DELETE", "files/{id}", delete)


def _existing(store: JobStore, identity: str) -> sqlite3.Row:
    found = store.find_file(identity)
    if found is None:
        raise no_such("File object", identity)
    return found


def _shape(row: sqlite3.Row) -> dict[str, Any]:
    shown = {name: row[name] for name in ("id", "bytes", "created_at", "expires_at", "filename", "purpose")}
    return {**shown, "object": "file", "status": "processed", "status_details": None}


async def _read_form(request: web.Request, folder: Path) -> Form:
    """Reads a multipart form: its fields, and its upload into a temporary file."""
    if not request.content_type.startswith("multipart/"):
        raise ApiError(400, "Expected a multipart/form-data request with `file` and `purpose`.")
    fields: dict[str, str] = {}
    uploaded: Path | None = None
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise ApiError(400, "A form within the form is not read.")
            if part.name != "file":
                fields[str(part.name)] = (await part.read(decode=True)).decode("utf-8", "replace")[:1000]
                continue
            if uploaded is not None:
                raise ApiError(400, "Send one file.", param="file")
            fields["filename"] = Path(part.filename or "file.jsonl").name
            descriptor, name = tempfile.mkstemp(prefix=".upload-", dir=folder / "files")
            uploaded = Path(name)
            with os.fdopen(descriptor, "wb") as file:
                await _receive(part, file)
    except BaseException:
        if uploaded is not None:
            uploaded.unlink(missing_ok=True)
        raise
    return Form(fields, uploaded)


async def _receive(part: BodyPartReader, file: IO[bytes]) -> None:
    left = max(MOST_BYTES.values()) + 1
    while chunk := await part.read_chunk(1 << 18):
        # Bytes beyond the largest size are read and dropped, so that the client gets an answer.
        file.write(chunk[:left])
        left -= min(left, len(chunk))

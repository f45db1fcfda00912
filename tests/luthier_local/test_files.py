"""Files of the embedded server, through the real client."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import openai
import pytest

from luthier_local import LocalServer
from luthier_local.jobs.job_store import JobStore
from tests.luthier_local.tuning import BASE, jsonl, reviews, served, upload


def test_an_uploaded_file_is_there_until_it_is_deleted(client: openai.OpenAI) -> None:
    content = jsonl(reviews(12, 1))
    made = client.files.create(file=("train.jsonl", content), purpose="fine-tune")
    assert (made.bytes, made.filename, made.purpose, made.status) == (
        len(content),
        "train.jsonl",
        "fine-tune",
        "processed",
    )
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).content == content
    assert [file.id for file in client.files.list()] == [made.id]
    assert client.files.delete(made.id).deleted
    assert list(client.files.list()) == []
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.files.content(made.id)


def test_files_are_listed_by_purpose_and_page(client: openai.OpenAI) -> None:
    made = [upload(client, b"{}", purpose) for purpose in ("batch", "fine-tune", "batch")]
    assert [file.id for file in client.files.list(purpose="batch")] == [made[2], made[0]]
    assert [file.id for file in client.files.list(order="asc", limit=1)] == made
    page = client.files.list(limit=2)
    assert page.has_more and [file.id for file in page.data] == made[:0:-1]


def test_azures_paths_lead_to_the_same_files(server: LocalServer, client: openai.OpenAI) -> None:
    made = upload(client, b"{}")
    with openai.OpenAI(base_url=server.azure_url, api_key=server.api_key) as azure:
        assert azure.files.retrieve(made).id == made


@pytest.mark.parametrize(
    ("purpose", "content", "message"),
    [("assistants", b"{}", "not one of fine-tune, batch"), ("fine-tune", b"", "File is empty")],
)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(
    tmp_path: Path, purpose: str, content: bytes, message: str
) -> None:
    with served(folder=tmp_path / "state") as (_, client):
        with pytest.raises(openai.BadRequestError, match=message):
            upload(client, content, purpose)
        assert list((tmp_path / "state" / "files").iterdir()) == []


def test_only_their_owner_may_read_the_files(tmp_path: Path) -> None:
    with served(models=[BASE], folder=tmp_path / "state") as (_, client):
        upload(client, b"{}")
        for path in (tmp_path / "state").rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_later_server_of_the_folder_has_the_files(tmp_path: Path) -> None:
    for number in range(2):
        with served(folder=tmp_path / "state") as (_, client):
            if number == 0:
                made = upload(client, b"content")
            else:
                assert client.files.content(made).content == b"content"


def test_a_server_without_files_makes_no_folder(tmp_path: Path) -> None:
    with served(folder=tmp_path / "state") as (_, client):
        client.models.list()
    assert not (tmp_path / "state").exists()


def test_what_a_killed_server_left_half_written_goes_after_a_day(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    old, young = store.file(".upload-old"), store.file(".upload-young")
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 90000,) * 2)
    store.sweep()
    store.close()
    assert (old.exists(), young.exists()) == (False, True)


def test_uploads_come_and_go_while_old_ones_are_swept(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for number in range(30):
                store.file(f".upload-{number}").touch()
            for number in range(30):
                store.file(f".upload-{number}").unlink()

    uploads = threading.Thread(target=come_and_go)
    uploads.start()
    try:
        for _ in range(200):
            store.sweep()
    finally:
        ended.set()
        uploads.join()
        store.close()

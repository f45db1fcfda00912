"""Endpoint files: a spec is moved to an endpoint that can answer it, or stays, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

import luthier as lt
from luthier.errors import SpecError
from luthier.techniques import read_endpoint, read_endpoint_for, read_spec, read_specs, unmoved, why_unmoved

TASK = "task: {name: mood, labels: [good, bad]}\n"
CHAT = "provider: openai\nmodel: some-chat-model\n"
BOTH = """
endpoint: {provider: openai, model: some-chat-model}
embedding: {provider: openai, model: some-embedding-model}
decoding: {temperature: 0.5}
answer: {method: text}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    local = "endpoint: {provider: local, model: deterministic}\n"
    (tmp_path / "near.yaml").write_text("technique: embedding\n" + TASK + local)
    (tmp_path / "asked.yaml").write_text("technique: prompt\nprompt: {template: '{{ text }}'}\n" + TASK + local)
    (tmp_path / "decided.yaml").write_text("technique: decision\n" + TASK + local)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "chat.yaml").write_text(CHAT)
    (tmp_path / "files" / "both.yaml").write_text(BOTH)
    return tmp_path


def models(folder: Path, file: str) -> dict[str, str]:
    return {spec.name: spec.base_model for spec in read_specs([folder], read_endpoint(folder / "files" / file))}


def test_a_chat_model_is_not_put_under_an_embedding_spec(folder: Path) -> None:
    moved = models(folder, "chat.yaml")
    assert moved == {"asked": "some-chat-model", "decided": "some-chat-model", "near": "deterministic"}


def test_an_embedding_block_moves_embedding_specs_and_no_others(folder: Path) -> None:
    moved = models(folder, "both.yaml")
    assert moved == {"asked": "some-chat-model", "decided": "some-chat-model", "near": "some-embedding-model"}


def test_what_stays_is_told_with_what_to_add(folder: Path) -> None:
    overrides = read_endpoint(folder / "files" / "chat.yaml")
    (left,) = unmoved(read_specs([folder], overrides), overrides)
    assert why_unmoved(left, "chat.yaml").startswith(
        "near stays at local/deterministic: it embeds texts, and chat.yaml has no"
    )


def test_an_endpoint_file_that_moves_nothing_is_refused_where_one_spec_is_read(folder: Path) -> None:
    with pytest.raises(SpecError, match="no `embedding:` block"):
        read_spec(folder / "near.yaml", read_endpoint(folder / "files" / "chat.yaml"))


def test_a_packaged_embedding_is_pointed_to_the_embedding_block(folder: Path) -> None:
    near = read_spec(folder / "near.yaml")
    assert read_endpoint_for(folder / "files" / "both.yaml", near)["model"] == "some-embedding-model"
    with pytest.raises(SpecError, match="no `embedding:` block"):
        read_endpoint_for(folder / "files" / "chat.yaml", near)


def test_a_packaged_prompt_takes_no_other_settings(folder: Path) -> None:
    with pytest.raises(SpecError, match="also replaces answer, decoding"):
        read_endpoint_for(folder / "files" / "both.yaml", read_spec(folder / "asked.yaml"))
    assert read_endpoint_for(folder / "files" / "both.yaml", read_spec(folder / "decided.yaml"))["provider"] == "openai"


def test_a_wrong_embedding_block_is_named(folder: Path) -> None:
    (folder / "wrong.yaml").write_text(BOTH.replace("some-embedding-model}", "m, colour: blue}"))
    with pytest.raises(SpecError, match=r"wrong\.yaml: embedding: .*colour"):
        read_endpoint(folder / "wrong.yaml")


def test_a_block_of_another_kind_is_refused_with_those_there_are(folder: Path) -> None:
    (folder / "wrong.yaml").write_text(BOTH + "seed: 3\n")
    with pytest.raises(SpecError, match="embedding, decoding, answer, prompt"):
        read_endpoint(folder / "wrong.yaml")


def test_an_embedding_keeps_its_own_settings_when_it_moves(folder: Path) -> None:
    (folder / "near.yaml").write_text((folder / "near.yaml").read_text() + "dimensions: 64\n")
    moved = read_spec(folder / "near.yaml", read_endpoint(folder / "files" / "both.yaml"))
    assert isinstance(moved, lt.Embedding) and moved.dimensions == 64

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.errors import UserError
from luthier.serving.server_file import ServerFile
from luthier.serving.settings import ServerSettings


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    settings = ServerSettings(keys_file=tmp_path / "keys", log_file=tmp_path / "log", timeout_seconds=3)
    written = ServerFile(model="m", uri="models:/stars/2", revision=3, endpoint={"model": "x"}, settings=settings)

    written.write(tmp_path)

    assert ServerFile.read(tmp_path) == written
    assert json.loads((tmp_path / "server.json").read_text())["schema"] == 1


def test_each_fault_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text('{"model": 1, "revision": 1, "colour": "red", "settings": {"port": 70000}}')

    with pytest.raises(UserError) as raised:
        ServerFile.read(tmp_path)

    for word in ("model", "uri", "colour", "port 70000"):
        assert word in str(raised.value)


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"server\.json cannot be read"):
        ServerFile.read(tmp_path)

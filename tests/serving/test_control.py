from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from luthier.errors import UserError
from luthier.serving.control import ControlListener, ServerControl, http_socket_path
from tests.patience import PATIENCE_SECONDS


class Recorded:
    """What the channel was asked, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.shared: socket.socket | None = None

    def accept(self, listening: socket.socket | None) -> None:
        if listening is None and self.shared is None:
            raise UserError("no socket was given")
        self.shared = listening or self.shared
        self.asked.append("accept")

    def share(self) -> None:
        self.asked.append("share")

    def pause(self) -> None:
        self.asked.append("pause")

    def drain(self) -> None:
        raise ZeroDivisionError("a secret")

    def status(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "checks": {"key": None}}

    def shared_socket(self) -> socket.socket | None:
        return self.shared


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    controlled = Recorded()
    listener = ControlListener(tmp_path, controlled)
    yield controlled
    listener.close()
    if controlled.shared:
        controlled.shared.close()


def test_a_command_is_carried_out_and_a_status_comes_back(recorded: Recorded, tmp_path: Path) -> None:
    control = ServerControl(tmp_path)

    assert control.ask("pause") == {}
    assert control.ask("status") == {"pid": os.getpid(), "checks": {"key": None}}
    assert recorded.asked == ["pause"]


def test_a_listening_socket_goes_to_the_server_and_comes_back(recorded: Recorded, tmp_path: Path) -> None:
    control = ServerControl(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        control.ask("accept", listening)
        address = listening.getsockname()

    with control.listening_socket() as fetched, socket.create_connection(address, timeout=PATIENCE_SECONDS):
        assert fetched.getsockname() == address
        assert not os.get_inheritable(fetched.fileno())


def test_what_the_server_cannot_do_is_said(recorded: Recorded, tmp_path: Path) -> None:
    control = ServerControl(tmp_path)

    with pytest.raises(ConnectionError, match="no socket was given"):
        control.ask("accept")
    with pytest.raises(ConnectionError, match="no shared socket"):
        control.listening_socket()
    with pytest.raises(ConnectionError, match="'dance'.*accept, share, pause"):
        control.ask("dance")  # type: ignore[arg-type]
    with pytest.raises(ConnectionError, match="ZeroDivisionError") as raised:
        control.ask("drain")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("sent", [b"", b"no json\n", b"[1]\n", b"half a li"], ids=["nothing", "text", "list", "half"])
def test_a_broken_client_does_not_end_the_channel(recorded: Recorded, tmp_path: Path, sent: bytes) -> None:
    control = ServerControl(tmp_path)
    with socket.socket(socket.AF_UNIX) as broken:
        broken.connect(os.fspath(control.path))
        broken.sendall(sent)

    assert control.ask("status")["pid"] == os.getpid()


def test_a_server_that_does_not_run_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        ServerControl(tmp_path).ask("status")


def test_a_socket_that_a_killed_server_left_behind_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(os.fspath(ServerControl(tmp_path).path))
    left.close()
    listener = ControlListener(tmp_path, Recorded())

    assert ServerControl(tmp_path).ask("pause") == {}
    listener.close()


def test_sockets_are_the_user_s_own_and_short_however_deep_the_folder_is(recorded: Recorded, tmp_path: Path) -> None:
    path = http_socket_path(tmp_path / ("deep" * 40) / "revisions" / "1")
    control = ServerControl(tmp_path).path

    assert len(os.fsencode(path)) < 100
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(control.stat().st_mode) == 0o600


def test_both_sides_find_the_socket_whatever_their_temporary_folder_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = http_socket_path(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    assert http_socket_path(tmp_path) == here == http_socket_path(tmp_path / "sub" / "..")


def test_the_line_is_plain_json(recorded: Recorded, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(os.fspath(ServerControl(tmp_path).path))
        client.sendall(b'{"do": "status"}\n')
        assert json.loads(client.makefile().readline())["pid"] == os.getpid()

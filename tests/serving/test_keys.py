"""The file of keys: what is kept, who is let in, and what happens when the file changes."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from luthier.errors import UserError
from luthier.serving.keys import KeyFile, KeyRing, new_key
from luthier.serving.settings import ServerSettings
from tests.serving.served import EchoModel, ask, running

FILE = Path("keys")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_keys_are_random_and_long() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("lk_") and len(key) == 46 for key in made)


def test_the_file_holds_hashes_and_no_key() -> None:
    key = KeyFile(FILE).add("mobile-app")
    label, digest, created = FILE.read_text().split()
    assert (label, digest) == ("mobile-app", hashlib.sha256(key.encode()).hexdigest())
    assert created.endswith("Z")
    assert key not in FILE.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_a_new_file_is_its_owners_and_one_that_is_there_keeps_its_mode() -> None:
    keys = KeyFile(FILE)
    keys.add("one")
    assert stat.S_IMODE(FILE.stat().st_mode) == 0o600
    FILE.chmod(0o644)
    keys.add("two")
    keys.revoke("one")
    assert stat.S_IMODE(FILE.stat().st_mode) == 0o644
    assert keys.labels() == ["two"]


def test_every_key_of_the_file_is_told_by_its_label() -> None:
    keys = KeyFile(FILE)
    made = {label: keys.add(label) for label in ("mobile-app", "nightly", "ada@example.com")}
    assert {label: keys.label_of(key) for label, key in made.items()} == {label: label for label in made}


@pytest.mark.parametrize("strange", ["", "lk_", "lk_é", "\ud800", "\x00", "lk_" + "a" * 100_000])
def test_what_is_no_key_is_let_in_nowhere(strange: str) -> None:
    KeyFile(FILE).add("one")
    assert KeyFile(FILE).label_of(strange) is None
    assert KeyRing({"run": new_key()}).label_of(strange) is None


def test_a_change_is_noticed_within_a_second_and_the_file_is_not_looked_at_before() -> None:
    clock = Clock()
    keys = KeyFile(FILE, clock)
    first = keys.add("first")
    assert keys.label_of(first) == "first"
    second = KeyFile(FILE).add("second")
    KeyFile(FILE).revoke("first")
    clock.now = 0.9
    assert (keys.label_of(first), keys.label_of(second)) == ("first", None)
    clock.now = 1.0
    assert (keys.label_of(first), keys.label_of(second)) == (None, "second")


@pytest.mark.parametrize("content", [None, "", "\n\n", "one 00ff now\n", "\x00\xff"])
def test_a_file_that_is_lost_or_spoilt_lets_nobody_in_says_so_once_and_recovers(
    content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    keys = KeyFile(FILE, clock)
    key = keys.add("one")
    whole = FILE.read_bytes()
    assert keys.label_of(key) == "one"
    FILE.unlink() if content is None else FILE.write_text(content, encoding="latin-1")
    for _ in range(3):
        clock.now += 1
        assert keys.label_of(key) is None
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "no client is let in" in caplog.text and "keys" in caplog.text
    FILE.write_bytes(whole)
    clock.now += 1
    assert keys.label_of(key) == "one"


def test_a_mounted_secret_that_is_swapped_is_read_anew() -> None:
    clock = Clock()
    for name in ("then", "now"):
        Path(name).mkdir()
    old, new = KeyFile("then/keys").add("one"), KeyFile("now/keys").add("one")
    Path("data").symlink_to("then")
    keys = KeyFile("data/keys", clock)
    assert keys.label_of(old) == "one"
    Path("next").symlink_to("now")
    os.replace("next", "data")
    clock.now = 1
    assert (keys.label_of(old), keys.label_of(new)) == (None, "one")


def test_keys_that_are_added_at_one_time_are_all_there() -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: KeyFile(FILE).add(f"n{number}"), range(24)))
    assert sorted(KeyFile(FILE).labels()) == sorted(f"n{number}" for number in range(24))


def test_a_label_is_plain_and_there_once() -> None:
    keys = KeyFile(FILE)
    keys.add("one")
    with pytest.raises(UserError, match="revoke keys one"):
        keys.add("one")
    for label in ("", "a b", "a\n", "é\x1b[31m", "x" * 65):
        with pytest.raises(UserError, match="1 to 64"):
            keys.add(label)
    with pytest.raises(UserError, match="it has: one"):
        keys.revoke("two")


def test_a_server_does_not_start_with_a_file_that_lets_nobody_in() -> None:
    with pytest.raises(UserError, match="luthier keys add keys LABEL"):
        KeyFile.of_server(FILE)
    FILE.touch()
    with pytest.raises(UserError, match="luthier keys add keys LABEL"):
        KeyFile.of_server(FILE)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_a_file_that_everybody_can_write_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    KeyFile(FILE).add("one")
    FILE.chmod(0o666)
    KeyFile.of_server(FILE)
    assert "chmod o-w" in caplog.text


def test_a_server_lets_in_the_keys_of_its_file() -> None:
    key = KeyFile(FILE).add("one")
    with running(EchoModel(), ServerSettings(port=0, keys_file=FILE)) as (_, listening):
        body = {"inputs": ["a"]}
        assert ask(listening, "POST", "/invocations", body, authorization=f"Bearer {key}").status == 200
        assert ask(listening, "POST", "/invocations", body, authorization=f"Bearer {new_key()}").status == 401

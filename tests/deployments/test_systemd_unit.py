"""The unit's text as systemd reads it, and what systemd is told; no test machine need run one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.deployments.systemd_unit import SystemdUnit, unit_text
from luthier.errors import UserError
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="deployments run on Linux and macOS")


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs in place of systemd's, which answer as if it ran; returns the file that their command lines go to."""
    heard = tmp_path / "heard"
    programs = {
        "systemctl": "case $2 in is-system-running) echo degraded; exit 1;; enable) exit $REFUSES;; esac",
        "loginctl": "echo yes",
    }
    for name, answer in programs.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {heard}\n{answer}\n')
        program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("REFUSES", "0")
    return heard


def test_the_unit_keeps_servers_alive_and_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    text = unit_text()

    assert "planted" not in text
    assert {"KillMode=process", "OOMPolicy=continue", "Restart=always"} <= set(text.splitlines())


def test_a_value_adds_no_line_to_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/a\nExecStartPre=/bin/true")
    assert r'Environment="PYTHONPATH=/a\nExecStartPre=/bin/true"' in unit_text().splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd reads it")
def test_systemd_finds_no_fault_in_the_unit_even_for_an_odd_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / 'a "b" 100% $HOME; #c'))
    file = tmp_path / "luthier-test.service"
    file.write_text(unit_text())

    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(file)],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    # Of a key or an escape that it does not know systemd only warns.
    assert done.returncode == 0 and file.name not in done.stderr, done.stderr


def test_the_unit_is_enabled_and_goes_when_it_is_stopped(systemctl: Path) -> None:
    unit = SystemdUnit()
    assert unit.is_there() and unit.lingers()
    unit.start()
    assert unit.file.read_text() == unit_text()
    unit.stop()

    assert not unit.file.exists()
    told = [line for line in systemctl.read_text().splitlines() if unit.unit in line]
    assert told == [f"systemctl --user enable --now {unit.unit}", f"systemctl --user disable --now {unit.unit}"]


def test_keys_are_handed_on_by_name(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_KEY", "sk-planted")
    SystemdUnit().start(["STARS_KEY", "NOT_SET"])

    heard = systemctl.read_text()
    assert "systemctl --user import-environment STARS_KEY\n" in heard and "planted" not in heard


def test_a_systemd_that_refuses_is_said(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSES", "4")
    with pytest.raises(UserError, match=r"enable --now luthier-.*exit code 4"):
        SystemdUnit().start()


def test_without_systemd_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not SystemdUnit.is_there()
    assert not SystemdUnit().is_running()

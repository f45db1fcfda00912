"""A unit of the user's systemd, one for each `LUTHIER_HOME`: it keeps the controller through logouts and restarts."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from luthier.errors import UserError
from luthier.home import luthier_home
from luthier.outputs import write_file

__all__ = ["SystemdUnit"]

COMMAND_SECONDS = 30.0

PASSED_ON = ("LUTHIER_CACHE", "PATH", "PYTHONPATH")
"""Variables that the unit keeps. No others: they may hold keys, and the unit is a file."""

# KillMode and OOMPolicy: servers belong to the unit too, and go on answering when the controller ends.
UNIT = """\
# Written by Luthier; changes are lost.
[Unit]
Description=Luthier: keeps deployed models answering
StartLimitIntervalSec=0

[Service]
ExecStart={python} -P -m luthier.deployments.controller_start
{environment}
Restart=always
RestartSec=1
KillMode=process
OOMPolicy=continue
UMask=0077

[Install]
WantedBy=default.target
"""


class SystemdUnit:
    """Runs the controller as a service of the user's systemd."""

    name = "systemd"

    @staticmethod
    def is_there() -> bool:
        """Whether a systemd of the user's runs."""
        if shutil.which("systemctl") is None:
            return False
        return _said("systemctl", "--user", "is-system-running") in ("running", "degraded", "starting", "initializing")

    @staticmethod
    def lingers() -> bool:
        """Whether that systemd goes on after the user's last logout."""
        return _said("loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value") == "yes"

    @property
    def unit(self) -> str:
        """Name of the unit."""
        digest = hashlib.sha256(os.fsencode(luthier_home().resolve())).hexdigest()[:8]
        return f"luthier-{digest}.service"

    @property
    def file(self) -> Path:
        """Where systemd finds the unit."""
        given = os.environ.get("XDG_CONFIG_HOME")
        folder = Path(given) if given and Path(given).is_absolute() else Path.home() / ".config"
        return folder / "systemd" / "user" / self.unit

    def is_running(self) -> bool:
        """Whether systemd keeps the unit running."""
        if not self.file.exists():
            return False
        return _said("systemctl", "--user", "is-active", self.unit) in ("active", "activating", "reloading")

    def start(self, variables: Collection[str] = ()) -> None:
        """Writes, enables and starts the unit.

        Args:
            variables: names of variables that systemd is to hand on from this process; it keeps them in memory.

        Raises:
            UserError: systemd refuses.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_file(self.file, unit_text())
        if given := sorted(name for name in variables if name in os.environ):
            # By name: a command line can be read by every user.
            _systemctl("import-environment", *given)
        _systemctl("daemon-reload")
        _systemctl("enable", "--now", self.unit)

    def stop(self) -> None:
        """Ends the controller, and removes the unit.

        Raises:
            UserError: systemd refuses.
        """
        _systemctl("disable", "--now", self.unit)
        self.file.unlink(missing_ok=True)
        _systemctl("daemon-reload")


def unit_text() -> str:
    """The unit's file."""
    kept = {"LUTHIER_HOME": str(luthier_home().resolve())}
    kept |= {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    lines = [f"Environment={_quoted(f'{name}={value}')}" for name, value in kept.items()]
    # Only in commands are variables replaced.
    python = _quoted(sys.executable).replace("$", "$$")
    return UNIT.format(python=python, environment="\n".join(lines))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return f'"{escaped}"'


def _said(*command: str) -> str:
    """What a command prints; its exit status says no more than that. Empty where it is not there or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _systemctl(*arguments: str) -> None:
    command = ["systemctl", "--user", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command)} failed (exit code {done.returncode}): {done.stderr.strip()}")

"""supervisord, one for each `LUTHIER_HOME`, where there is no systemd that keeps a user's services."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

from luthier.deployments.controller_start import supervision_folder
from luthier.errors import UserError
from luthier.home import luthier_home
from luthier.outputs import write_file
from luthier.processes import start_time
from luthier.serving.control import private_socket_path

__all__ = ["Supervisord"]

RPC_SECONDS = 5.0
START_SECONDS = 30.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.05

# Paths come by the environment or are relative: supervisord reads `;` and `#` in a value as the start of a comment.
# A start always counts as one that worked (startsecs): supervisord gives up after some that did not. The pauses between
# starts are those of `controller_start`.
CONFIG = """\
; Written by Luthier; changes are lost.
[supervisord]
nodaemon=false
umask=077
identifier=luthier
pidfile=supervisord.pid
logfile=supervisord.log
logfile_maxbytes=1MB
logfile_backups=2
childlogdir=.

[unix_http_server]
file={socket}
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{socket}

[program:controller]
command="%(ENV_LUTHIER_PYTHON)s" -P -m luthier.deployments.controller_start
startsecs=0
autorestart=true
stopwaitsecs=10
redirect_stderr=true
stdout_logfile=NONE
"""


class Supervisord:
    """Runs the controller under supervisord, which outlives the terminal but not the machine's next start."""

    name = "supervisord"

    def is_running(self) -> bool:
        """Whether it runs and answers."""
        try:
            return bool(self._ask("supervisor.getPID"))
        except (OSError, http.client.HTTPException):
            return False

    def start(self) -> None:
        """Starts it as a daemon; the caller holds a lock, so that only one is started.

        Raises:
            UserError: it does not start.
        """
        folder = supervision_folder()
        write_file(folder / "supervisord.conf", CONFIG.format(socket=self._socket))
        # The daemon keeps the caller's variables: keys that models need are not written anywhere.
        environment = os.environ | {"LUTHIER_HOME": str(luthier_home().resolve()), "LUTHIER_PYTHON": sys.executable}
        output = folder / "supervisord.output.log"
        with open(output, "wb") as printed:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", "supervisord.conf"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                # It forks, and the fork leads a session of its own only after a while.
                start_new_session=True,
                timeout=START_SECONDS,
                check=False,
            )
        if done.returncode:
            said = output.read_text(errors="replace").strip()
            raise UserError(
                f"supervisord, which keeps deployments running, does not start (exit code {done.returncode}): {said}"
            )

    def stop(self) -> None:
        """Has it end the controller and itself.

        Raises:
            UserError: it does not end in time.
        """
        pid = self._ask("supervisor.getPID")
        started, until = start_time(pid), time.monotonic() + STOP_SECONDS
        self._ask("supervisor.shutdown")
        while start_time(pid) == started:
            if time.monotonic() > until:
                raise UserError(f"supervisord (pid {pid}) does not end; end it with: kill -9 {pid}")
            time.sleep(POLL_SECONDS)

    @property
    def _socket(self) -> Path:
        return private_socket_path(supervision_folder(), "supervisor")

    def _ask(self, method: str) -> Any:
        """The answer to a call by XML-RPC.

        Raises:
            OSError: it does not run, or does not answer in time.
        """
        connection = _UnixConnection(self._socket)
        try:
            connection.request("POST", "/RPC2", xmlrpc.client.dumps((), method), {"Content-Type": "text/xml"})
            with connection.getresponse() as response:
                body = response.read()
        finally:
            connection.close()
        return xmlrpc.client.loads(body)[0][0]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=RPC_SECONDS)
        self._path = path

    def connect(self) -> None:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(RPC_SECONDS)
            made.connect(os.fspath(self._path))
        except OSError:
            made.close()
            raise
        self.sock = made

"""A PostgreSQL of the tests' own: made by `initdb` in a temporary folder, reached over a Unix socket in it."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.patience import PATIENCE_SECONDS

__all__ = ["PostgresqlServer", "postgresql", "postgresql_server"]

USER = "luthier"


class PostgresqlServer:
    """A server that can be stopped and started again; its databases outlive that.

    Attributes:
        password: of the user `luthier`; the server asks for it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.password = secrets.token_hex(12)
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.getuid() == 0 else None
        file = folder / "password"
        file.write_text(self.password)
        if self._user is not None:
            for path in (folder, file):
                shutil.chown(path, self._user)
        options = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={file}", "--no-sync", "--encoding=UTF8"]
        made = subprocess.run(
            ["initdb", "--locale=C", *options, f"--pgdata={folder / 'data'}"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
            user=self._user,
            cwd=folder,
        )
        assert made.returncode == 0, made.stderr

    def url(self, database: str = "postgres") -> str:
        """What a user types for a database, the password in it."""
        return f"postgresql://{USER}:{self.password}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"study{next(self._numbers)}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        settings = ["listen_addresses=", f"unix_socket_directories={self.folder}", "fsync=off", "max_connections=60"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["postgres", "-D", str(self.folder / "data"), *(word for one in settings for word in ("-c", one))],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None and time.monotonic() < deadline, self.log
                time.sleep(0.02)

    def stop(self) -> None:
        """Stops it as an administrator would: connections are cut, what was committed is kept."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "log").read_text()

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url(), autocommit=True)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A server that runs; the test is skipped where PostgreSQL is not installed."""
    if sys.platform == "win32" or not all(map(shutil.which, ("initdb", "postgres"))):
        pytest.skip("PostgreSQL is not here")
    if os.getuid() == 0 and not Path("~postgres").expanduser().is_absolute():
        pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres")
    # Not below pytest's folder, which other users may not enter; a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="luthier-pg-"))
    server = PostgresqlServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
def postgresql(postgresql_server: PostgresqlServer) -> str:
    """The URL of an empty database, with a password in it."""
    return postgresql_server.new_database()

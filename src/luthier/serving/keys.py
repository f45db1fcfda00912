"""API keys of a server: made at random, kept as hashes, several at a time, read anew when their file changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from luthier.errors import UserError
from luthier.outputs import check_file

__all__ = ["KeyFile", "KeyLine", "KeyRing", "new_key"]

log = logging.getLogger("luthier.serving")

LABEL = re.compile(r"[\w.@-]{1,64}", re.ASCII)

LOOK_SECONDS = 1.0
"""A change of the file is noticed this much later at most."""

LOCK_SECONDS = 10.0
"""Two commands that change one file take turns; one that waits longer than this gives up."""


def new_key() -> str:
    """A random API key: `lk_` and 256 bits.

    Random keys of this length cannot be guessed, so that one SHA-256 is hash enough; a password would need a slow one.
    """
    return f"lk_{secrets.token_urlsafe(32)}"


def digest_of(key: str) -> bytes:
    """SHA-256 of a key; any text has one."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A line of the file of keys.

    Attributes:
        label: whose key it is; the log names it.
        digest: SHA-256 of the key.
        created: day and time, UTC.
    """

    label: str
    digest: bytes
    created: str

    def __str__(self) -> str:
        return f"{self.label} {self.digest.hex()} {self.created}"


class KeyRing:
    """Keys that are known in this process alone.

    Args:
        keys: by label.

    Examples:
        >>> ring = KeyRing({"notebook": "lk_secret"})
        >>> ring.label_of("lk_secret"), ring.label_of("lk_other")
        ('notebook', None)
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._digests = {label: digest_of(key) for label, key in keys.items()}

    def label_of(self, key: str) -> str | None:
        """The label of a key; `None` if it is none of these. Takes as long for any key."""
        given, found = digest_of(key), None
        for label, digest in self._digests.items():
            if hmac.compare_digest(given, digest):
                found = label
        return found


class KeyFile(KeyRing):
    """Keys in a file: one line each, of label, SHA-256 in hex and the time it was made.

    A server looks once a second at most whether the file has changed. When the file cannot be read, or has no key any
    more, it lets no client in and says so in the log. The file can be a mounted Secret.

    Args:
        path: the file; `add` makes it where there is none.
        clock: seconds, from any start.
    """

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__({})
        self.path = Path(path)
        self._clock = clock
        self._look_at = -float("inf")
        self._seen: tuple[int, ...] | None = None
        self._fault: str | None = None

    @classmethod
    def of_server(cls, path: str | Path) -> KeyFile:
        """The file as a server starts with it.

        Raises:
            UserError: it cannot be read, or has no key.
        """
        keys = cls(path)
        if not keys.lines():
            raise UserError(f"{path} has no key; write one with: luthier keys add {path} LABEL")
        if sys.platform != "win32" and keys.path.stat().st_mode & stat.S_IWOTH:
            log.warning("%s can be written by every user of this machine: chmod o-w %s", path, path)
        return keys

    def label_of(self, key: str) -> str | None:
        """The label of a key, `None` if the file does not have it."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()
        return super().label_of(key)

    def lines(self) -> list[KeyLine]:
        """The keys of the file, in its order.

        Raises:
            UserError: it cannot be read.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(
                f"there is no file of keys {self.path}; write one with: luthier keys add {self.path} LABEL"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UserError(f"the file of keys {self.path} cannot be read: {said}.") from error
        return [self._line(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]

    def add(self, label: str) -> str:
        """Makes a key, and writes its hash into the file; the key itself is kept nowhere.

        A new file can be read by its owner alone; a file that is there keeps its mode.

        Raises:
            UserError: the label is not plain or there already, or the file cannot be read or written.
        """
        if LABEL.fullmatch(label) is None:
            raise UserError(f"the label {label!r} is none; give 1 to 64 letters, digits or any of . _ - @")
        key = new_key()
        line = KeyLine(label, digest_of(key), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))

        def with_it(lines: list[KeyLine]) -> list[KeyLine]:
            if label in {one.label for one in lines}:
                raise UserError(
                    f"{self.path} has a key {label} already; give the new one another label, so that both are let in "
                    f"until all clients have it, then: luthier keys revoke {self.path} {label}"
                )
            return [*lines, line]

        self._change(with_it)
        return key

    def revoke(self, label: str) -> None:
        """Takes a key out of the file.

        Raises:
            UserError: the file has no such label, or cannot be read or written.
        """

        def without_it(lines: list[KeyLine]) -> list[KeyLine]:
            left = [one for one in lines if one.label != label]
            if len(left) == len(lines):
                known = ", ".join(one.label for one in lines) or "none"
                raise UserError(f"{self.path} has no key {label!r}; it has: {known}.")
            return left

        if not self.path.exists():
            self.lines()
        self._change(without_it)

    def labels(self) -> list[str]:
        """The labels of the file's keys.

        Raises:
            UserError: it cannot be read.
        """
        return [one.label for one in self.lines()]

    def _look(self) -> None:
        """Reads the file if it has changed."""
        fault = None
        try:
            status = self.path.stat()
            seen = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                return
            self._digests = {one.label: one.digest for one in self.lines()}
            self._seen = seen
            if not self._digests:
                fault = f"the file of keys {self.path} has no key"
        except (OSError, UserError) as error:
            self._digests, self._seen, fault = {}, None, str(error)
        if fault is not None and fault != self._fault:
            log.error("no client is let in: %s", fault)
        elif fault is None:
            log.info("%s lets in: %s", self.path, ", ".join(self._digests))
        self._fault = fault

    def _line(self, number: int, line: str) -> KeyLine:
        parts = line.split()
        if len(parts) == 3 and LABEL.fullmatch(parts[0]) and re.fullmatch(r"[0-9a-f]{64}", parts[1]):
            return KeyLine(parts[0], bytes.fromhex(parts[1]), parts[2])
        raise UserError(
            f"line {number} of {self.path} is not a label, a SHA-256 and a time, as luthier keys add writes them; "
            "take it out."
        )

    def _change(self, change: Callable[[list[KeyLine]], list[KeyLine]]) -> None:
        from filelock import FileLock, Timeout

        try:
            check_file(self.path)
            with FileLock(f"{self.path}.lock", LOCK_SECONDS, mode=0o600):
                lines = change(self.lines() if self.path.exists() else [])
                self._write("".join(f"{line}\n" for line in lines))
        except Timeout:
            raise UserError(f"another command is changing {self.path}; run this one again.") from None
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror or error}.") from error

    def _write(self, text: str) -> None:
        """Replaces the file whole; it keeps its mode and owner, since a server may run as another user."""
        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}-", dir=self.path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            if sys.platform != "win32" and self.path.exists():
                was = self.path.stat()
                with suppress(PermissionError):
                    os.chown(name, was.st_uid, was.st_gid)
                Path(name).chmod(stat.S_IMODE(was.st_mode))
            os.replace(name, self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

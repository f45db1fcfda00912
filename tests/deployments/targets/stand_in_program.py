"""A program of the user's that the tests cannot have: one of its name that writes down how it was called."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

__all__ = ["put_on_path"]


def put_on_path(name: str, source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the program first on PATH; returns the file that it finds in the variable RECORD."""
    program = folder / "programs" / name
    program.parent.mkdir()
    program.write_text(source.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(folder / "record"))
    return folder / "record"

"""The installed Luthier as a wheel, so that an image runs the code that was tested here."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib import metadata
from pathlib import Path

__all__ = ["wheel_name", "write_wheel"]

PACKAGES = ("luthier", "luthier_local")
SOURCE = Path(__file__).resolve().parents[2]

WHEEL = "Wheel-Version: 1.0\nGenerator: luthier\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

UNDATED = (1980, 1, 1, 0, 0, 0)
"""The same code makes the same bytes, so that a build without changes is a build from the cache."""


def wheel_name() -> str:
    """File name of the wheel."""
    return f"luthier-{metadata.version('luthier')}-py3-none-any.whl"


def write_wheel(folder: Path) -> Path:
    """Writes the wheel into a folder; by the binary distribution format 1.0 of the Python packaging specifications."""
    installed = metadata.distribution("luthier")
    info = f"luthier-{installed.version}.dist-info"
    contents = {
        file.relative_to(SOURCE).as_posix(): file.read_bytes()
        for package in PACKAGES
        for file in sorted((SOURCE / package).rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }
    contents |= {
        f"{info}/METADATA": (installed.read_text("METADATA") or "").encode(),
        f"{info}/entry_points.txt": (installed.read_text("entry_points.txt") or "").encode(),
        f"{info}/WHEEL": WHEEL.encode(),
    }
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    wheel = folder / wheel_name()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, UNDATED)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return wheel


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()

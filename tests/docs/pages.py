"""The pages people read, cut into what can be checked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.M | re.S)


def named(page: Path) -> str:
    """A page as test ids have it."""
    return str(page.relative_to(REPOSITORY))


def blocks(page: Path, marks: str) -> list[str]:
    """Bodies of the fenced blocks with exactly these words behind the fence."""
    return [body for found, body in FENCE.findall(page.read_text(encoding="utf-8")) if found.strip() == marks]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What a heading of the page can be linked to as, the way GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path, *marks: str) -> Iterator[list[str]]:
    """Words of every command line in the page's shell blocks; comments and continuations resolved."""
    for mark in marks or ("sh", "sh tour"):
        for body in blocks(page, mark):
            for line in body.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    yield words

"""What users read is written in standard words: messages, help, docstrings, pages and notebooks."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import luthier
from tests.docs.pages import PAGES, REPOSITORY, named, prose

SOURCE = Path(luthier.__file__).parent

WORDS = re.compile(
    r"\b(whoever|whomever|whosoever|whichsoever|nobody|somebody|everybody|anybody|betray\w*|how-manieth|mend(ed|s)?)\b",
    re.IGNORECASE,
)
ALLOWED = {
    # The value of a public field, and the words of a negation in an answer.
    ("tuning/job_list.py", "nobody"),
    ("tasks/labels/negation.py", "nobody"),
}


def strings(file: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module, docstrings included; comments are ours."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_messages_help_and_docstrings_are_in_standard_words() -> None:
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        name = file.relative_to(SOURCE).as_posix()
        for line, text in strings(file):
            for word in WORDS.findall(text):
                if (name, word[0].lower()) not in ALLOWED:
                    found.append(f"{name}:{line}: {word[0]}")
    assert found == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md" and page.parent.name != "reference"], ids=named
)
def test_pages_are_in_standard_words(page: Path) -> None:
    assert [word[0] for word in WORDS.findall(prose(page))] == []


def test_notebooks_are_in_standard_words() -> None:
    for file in (REPOSITORY / "notebooks").glob("*.ipynb"):
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
            assert [word[0] for word in WORDS.findall("".join(cell["source"]))] == []

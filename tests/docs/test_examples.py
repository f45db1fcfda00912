"""Examples run: those in docstrings, and those in the pages that are marked `python run`."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import luthier
from tests.docs.pages import PAGES, blocks, named

SOURCE = Path(luthier.__file__).parent


def modules_with_examples() -> list[str]:
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        if "bundled" not in file.parts and ">>>" in file.read_text(encoding="utf-8"):
            found.append(
                ".".join(("luthier", *file.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
            )
    return found


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings_hold(name: str) -> None:
    module = importlib.import_module(name)
    done = doctest.testmod(module)
    assert done.attempted, f"{name} has a >>> that doctest does not see"
    assert done.failed == 0


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python run")], ids=named)
def test_examples_in_the_pages_run(page: Path, quickstarted: Path) -> None:
    """Blocks of a page share their names, as cells do; the deterministic model stands in for the weights."""
    names: dict[str, object] = {"__name__": "__main__"}
    for body in blocks(page, "python run"):
        source = body.replace("lt.embedded()", 'lt.embedded("deterministic")')
        exec(compile(source, named(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_in_the_pages_is_python(page: Path) -> None:
    for marks in ("python", "python run"):
        for body in blocks(page, marks):
            if page.parent.name != "reference":
                ast.parse(body, named(page))

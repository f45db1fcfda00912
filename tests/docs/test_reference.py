"""docs/reference says what the docstrings say, and leaves no public name out."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

import luthier
from tests.docs.pages import REPOSITORY

FOLDER = REPOSITORY / "docs" / "reference"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    import sys

    spec = spec_from_file_location("generate_reference", FOLDER / "generate.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["generate_reference"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date(generator: ModuleType) -> None:
    written = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.md")}
    pages: dict[str, str] = generator.pages()
    assert set(written) == set(pages)
    stale = [name for name, text in pages.items() if written[name] != text]
    assert not stale, "out of date; type: scripts/docs"


def test_every_public_name_has_its_place(generator: ModuleType) -> None:
    listed = {name for page in generator.PAGES for name in page.names if ":" not in name}
    assert listed == set(luthier.__all__) - {"__version__"}


def test_every_command_has_its_place(generator: ModuleType) -> None:
    page = (FOLDER / "commands.md").read_text(encoding="utf-8")
    for words in generator.commands():
        assert f"\n## {words}\n" in page

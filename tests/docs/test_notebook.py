"""The notebook runs from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.docs.pages import REPOSITORY

STORY = REPOSITORY / "notebooks" / "story.ipynb"


def test_the_story_is_kept_without_outputs() -> None:
    story = nbformat.read(STORY, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(story)
    cells = [cell for cell in story.cells if cell.cell_type == "code"]
    assert 10 <= len(cells) <= 16
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.mark.slow
def test_the_story_runs(tmp_path: Path, clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    monkeypatch.setenv("STORY_ROWS", "30")
    monkeypatch.setenv("STORY_MODEL", "deterministic")
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "1")
    story = nbformat.read(STORY, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(story, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in story.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("luthier-board" in output.get("data", {}).get("text/html", "") for output in shown)

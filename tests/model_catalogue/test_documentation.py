"""The page of the catalogue names every fact."""

from __future__ import annotations

from pathlib import Path

from luthier.model_catalogue import FACTS
from luthier.model_catalogue.facts import KINDS, TASKS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "catalogue.md"


def test_the_page_names_every_fact_kind_and_task() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in (*FACTS, *KINDS, *TASKS) if f"`{name}`" not in text] == []

"""The dashboards that the isolated program made, as sections of a page."""

from __future__ import annotations

import json
from pathlib import Path

from luthier.reporting.table import Block, Frame, Section

__all__ = ["dashboard_sections"]


def dashboard_sections(folder: Path) -> tuple[Section, ...]:
    """A section per dashboard, and one that says why a dashboard is left out.

    Args:
        folder: where `python -m isolated build` wrote.
    """
    listed = json.loads((folder / "dashboards.json").read_text(encoding="utf-8"))
    script = (folder / listed["script"]).read_text(encoding="utf-8")
    sections = []
    for place, one in enumerate(listed["frames"]):
        data = (folder / one["data"]).read_text(encoding="utf-8")
        sections.append(Section(one["title"], (*one["notes"], Frame(f"dashboard-{place}", one["title"], script, data))))
    left_out: tuple[Block, ...] = tuple(listed["notes"])
    return (*sections, Section("Dashboards left out", left_out)) if left_out else tuple(sections)

"""The figures of a page as SVG files, named by what they show: for MLflow's artifact view, slides, papers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from luthier.reporting.charts.chart import Figure
from luthier.reporting.charts.draw import figure_svg
from luthier.reporting.table import Block, Fold, Page, Section

__all__ = ["figure_files"]

MOST_FILES = 24
"""The first figures of a page; a page of forty specs has one for each of them in several sections."""

LONGEST_NAME = 60


def figure_files(page: Page) -> Iterator[tuple[str, str]]:
    """File name and SVG text of each figure, in the order of the page; figures that are folded away come last."""
    found = [pair for section in page.sections for pair in _of_blocks(section.title, section.blocks, folded=False)]
    ordered = [*(one for one in found if not one[2]), *(one for one in found if one[2])][:MOST_FILES]
    seen: Counter[str] = Counter()
    for title, figure, _ in ordered:
        # Names of specs and labels come from strangers: a file name has ASCII letters and digits only.
        name = re.sub(r"[^a-z0-9]+", "-", title.lower().encode("ascii", "ignore").decode()).strip("-")[:LONGEST_NAME]
        name = name.strip("-") or "figure"
        seen[name] += 1
        # Not numbered through: a page that is written again replaces its figures, also where one has come before them.
        yield (
            f"{name}{f'-{seen[name]}' if seen[name] > 1 else ''}.svg",
            figure_svg(replace(figure, title=title.strip())),
        )


def _of_blocks(title: str, blocks: tuple[Block, ...], *, folded: bool) -> Iterator[tuple[str, Figure, bool]]:
    for block in blocks:
        if isinstance(block, Section):
            yield from _of_blocks(f"{title} {block.title}", block.blocks, folded=folded)
        elif isinstance(block, Fold):
            yield from _of_blocks(f"{title} {block.summary}", block.blocks, folded=True)
        else:
            for one in block if isinstance(block, tuple) else (block,):
                if isinstance(one, Figure):
                    yield f"{title} {one.title}", one, folded

"""A confusion matrix as an HTML table: real cells for a reader, a square on the page, a scroll where it has no room."""

from __future__ import annotations

from luthier.reporting.charts.chart import Confusion
from luthier.reporting.charts.svg import CHARACTER, svg_file, text
from luthier.reporting.numbers import number
from luthier.reporting.short_names import short_names, shortened

__all__ = ["confusion_html", "confusion_svg", "shown_counts"]

NO_LABEL = "(no label)"
"""Head of the last column: off label, refused or failed."""

LONGEST_LABEL = 18
"""Characters shown of a label; the whole where a pointer rests on it."""

LARGE, MIDDLE = 12, 30
"""Labels up to which cells are large, and of middle size; more make them small."""


LONGEST = 28
"""Characters of a label in a file."""


def shown_counts(figure: Confusion) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """The answers and the counts that are shown: without the column of rows without a label where it is empty."""
    if any(line[len(figure.labels)] for line in figure.counts if len(line) > len(figure.labels)):
        return (*figure.labels, NO_LABEL), figure.counts
    return figure.labels, tuple(line[: len(figure.labels)] for line in figure.counts)


def confusion_html(figure: Confusion) -> str:
    """The table, without heading and sentence; the darker a cell, the larger its share of the true label's rows."""
    answers, counts = shown_counts(figure)
    count = len(figure.labels)
    size = "large" if count <= LARGE else "middle" if count <= MIDDLE else "small"
    shown = short_names(answers, LONGEST_LABEL)
    heads = "".join(
        f'<th scope="col" title="{text(one)}"><span><bdi>{text(shown[one])}</bdi></span></th>' for one in answers
    )
    lines = []
    for place, (truth, line) in enumerate(zip(figure.labels, counts, strict=True)):
        whole = sum(line)
        cells = "".join(
            _cell(truth, answer, cell, whole, right=answered == place)
            for answered, (answer, cell) in enumerate(zip(answers, line, strict=True))
        )
        lines.append(f'<tr><th scope="row" title="{text(truth)}"><bdi>{text(shown[truth])}</bdi></th>{cells}</tr>')
    return (
        f'<div class="lu-scroll" role="region" tabindex="0" aria-label="{text(figure.title or "confusion")}">'
        f'<table class="lu-confusion {size}"><caption>true label down, answer across</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def confusion_svg(figure: Confusion) -> str:
    """The table as an SVG file that needs nothing else."""
    answers, counts = shown_counts(figure)
    pixels = 44 if len(figure.labels) <= LARGE else 32 if len(figure.labels) <= MIDDLE else 21
    size = (pixels * len(answers), pixels * len(counts))
    names = [shortened(one, LONGEST) for one in answers]
    room = 12 + round(CHARACTER * max(map(len, names), default=0))
    # Names that fit over a cell are read more easily than turned ones.
    is_turned = CHARACTER * max(map(len, names), default=0) > pixels
    parts = []
    for place, name in enumerate(names):
        middle = pixels * (place + 0.5)
        turned = f'transform="translate({middle + 4},-6) rotate(-90)"'
        level = f'x="{middle}" y="-8" text-anchor="middle"'
        parts.append(f'<text class="lu-name" {turned if is_turned else level}>{text(name)}</text>')
        if place < len(counts):
            parts.append(f'<text class="lu-name" x="-8" y="{middle + 4}" text-anchor="end">{text(name)}</text>')
    for down, line in enumerate(counts):
        whole = sum(line)
        for across, cell in enumerate(line):
            css = "c0" if down == across else "c1"
            corner = f'x="{pixels * across + 1}" y="{pixels * down + 1}" width="{pixels - 2}" height="{pixels - 2}"'
            if cell:
                parts.append(f'<rect class="{css}" {corner} style="fill-opacity:{0.55 * cell / whole:.2f}"/>')
            where = f'x="{pixels * (across + 0.5)}" y="{pixels * (down + 0.5) + 4}" text-anchor="middle"'
            css = "lu-name" if cell else "lu-note"
            parts.append(f'<text class="{css}" {where}{_small(pixels)}>{cell:,}</text>')
    along = ("true label down, answer across", "")
    return svg_file(figure, (), "".join(parts), left=room, size=size, along=along, above=room if is_turned else 20)


def _small(pixels: int) -> str:
    """The size of counts in small cells."""
    return ' style="font-size:9.5px"' if pixels < 30 else ""


def _cell(truth: str, answer: str, cell: int, whole: int, *, right: bool) -> str:
    if not cell:
        # Nearly all cells of a hundred labels are empty, and a page is mailed.
        return "<td class=none>0</td>"
    share = cell / whole
    told = f"true {truth}, answered {answer}: {cell:,} rows ({number(share, 'percent')})"
    css = ' class="right"' if right else ""
    return f'<td{css} style="--share:{100 * share:.0f}%" title="{text(told)}">{cell:,}</td>'

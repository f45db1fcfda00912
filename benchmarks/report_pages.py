"""How large pages are and how long a browser draws one, beside the same points drawn by Plotly.

    uv run --with plotly python benchmarks/report_pages.py [--points 10000] [--rounds 5]

A round opens each page in a headless Chromium and waits for the screenshot, so the time ends with finished pixels. The
pages take turns within a round. Work is not the same: ours has a hover text per point, and so has Plotly's. Without
Plotly only our pages are measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser import browser_page

from luthier.evaluation.resampling import Interval
from luthier.evaluation.trials import TrialRow, TrialTable
from luthier.reporting.charts.chart import Axis, Chart, Dots
from luthier.reporting.html import page_text
from luthier.reporting.table import Page, Section
from luthier.reporting.trials_report import trials_page

Points = tuple[list[float], list[float], list[str]]


def points_of(count: int) -> Points:
    """As many points of a cloud."""
    generator = np.random.default_rng(7)
    x = generator.normal(0, 1, count)
    return x.tolist(), (0.5 * x + generator.normal(0, 1, count)).tolist(), [f"trial {place}" for place in range(count)]


def scatter_page(points: Points) -> str:
    """A page of ours with one scatter."""
    x, y, told = points
    chart = Chart("Points", "A cloud.", Axis("x"), Axis("y"), (Dots(tuple(x), tuple(y), told=tuple(told)),))
    return page_text(Page("Points", "", (), (Section("Points", (chart,)),)))


def plotly_page(points: Points) -> str | None:
    """The same by Plotly, its library in the page; `None` where it is not installed."""
    try:
        import plotly.graph_objects as go
    except ImportError:
        return None
    x, y, told = points
    figure = go.Figure(go.Scatter(x=x, y=y, mode="markers", hovertext=told))
    page: str = figure.to_html(include_plotlyjs=True)
    return page


def search_page(count: int) -> str:
    """A whole page of trials."""
    generator = np.random.default_rng(7)
    rows = tuple(
        TrialRow(
            f"trial {place}",
            {"base_model": f"model-{place % 3}", "epochs": place % 4, "rate": float(generator.uniform(0.05, 0.4))},
            Interval(float(generator.beta(5, 6))),
            cost_usd=float(generator.uniform(0.1, 1)),
        )
        for place in range(count)
    )
    return page_text(
        trials_page(
            TrialTable(
                "trials", "accuracy", "higher", ("base_model", "epochs", "rate"), rows, model_setting="base_model"
            )
        )
    )


async def seconds_to_pixels(folder: Path, pages: Sequence[tuple[str, str]], rounds: int) -> dict[str, list[float]]:
    """Seconds from navigation to a screenshot, per page and round."""
    found: dict[str, list[float]] = {name: [] for name, _ in pages}
    async with browser_page(folder) as browser:
        for _ in range(rounds):
            for place, (name, text) in enumerate(pages):
                file = folder / f"{place}.html"
                file.write_text(text, "utf-8")
                began = time.perf_counter()
                await browser.open(file.as_uri())
                await browser.screenshot(folder / "shot.png")
                found[name].append(time.perf_counter() - began)
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    points = points_of(given.points)
    ours, peer = scatter_page(points), plotly_page(points)
    pages = [("an empty page", scatter_page(points_of(1))), (f"{given.points:,} points, ours", ours)]
    pages += [(f"{given.points:,} points, Plotly", peer)] if peer is not None else []
    pages += [(f"a whole page of {count} trials", search_page(count)) for count in (175, 1000)]
    with tempfile.TemporaryDirectory() as scratch:
        times = asyncio.run(seconds_to_pixels(Path(scratch), pages, given.rounds))
    for name, text in pages:
        kilobytes = len(text.encode()) / 1000
        spent = sorted(times[name])
        span = f"[{1000 * spent[0]:,.0f}-{1000 * spent[-1]:,.0f}]"
        print(f"{name:32} {kilobytes:8,.0f} kB  {1000 * median(spent):6,.0f} ms {span}")
    if peer is None:
        print("Plotly is not installed here: uv run --with plotly python benchmarks/report_pages.py")
        return
    ratio = median(times[pages[2][0]]) / median(times[pages[1][0]])
    print(f"Plotly's page is {len(peer) / len(ours):.1f} times as large and takes {ratio:.1f} times as long.")


if __name__ == "__main__":
    main()

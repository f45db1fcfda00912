"""What axe-core finds wrong with a page for people who use a keyboard or a screen reader."""

from __future__ import annotations

import json
from importlib.resources import files

from tests.browser import BrowserPage

__all__ = ["faults_of"]


async def faults_of(page: BrowserPage) -> list[str]:
    """The faults that axe calls serious or critical, each with the first element that has it."""
    # Evaluated and not added as an element: the page's own policy runs no script of others.
    await page.value(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8") + "; true")
    found = await page.value(
        "axe.run(document, {resultTypes: ['violations']}).then((all) => JSON.stringify(all.violations"
        ".filter((one) => ['serious', 'critical'].includes(one.impact))"
        ".map((one) => `${one.id}: ${one.nodes.length} times, first ${one.nodes[0].html.slice(0, 200)}`)))"
    )
    faults: list[str] = json.loads(found)
    return faults

"""A page as a command and a notebook hold it: it shows itself, is written to a file, and gives its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from luthier.reporting.html import framed, page_text, write_page
from luthier.reporting.table import Lines, Page, Section
from luthier.reporting.terminal import show, text_of

__all__ = ["ReportPage"]


class ReportPage:
    """A report; a notebook shows the page, a terminal what it says.

    Attributes:
        page: the records that are drawn.
    """

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def html(self) -> str:
        """The page as one HTML text that needs no network."""
        return page_text(self.page)

    def document(self) -> dict[str, Any]:
        """The data behind every table and figure, as JSON values."""
        return self.page.document()

    def write_page(self, path: str | Path) -> Path:
        """Writes the page as one HTML file that needs no network; an earlier page is replaced.

        Raises:
            DataError: the file cannot be written, or a file that is no page is there.
        """
        return write_page(self.html, path)

    def show(self) -> None:
        """Prints what the page says, on standard output."""
        show(*self._said)

    @property
    def _said(self) -> tuple[Section, ...]:
        return (Section(self.page.title, (self.page.lead, Lines(self.page.said))),)

    def _repr_html_(self) -> str:
        return framed(self.html)

    def __repr__(self) -> str:
        return text_of(*self._said)

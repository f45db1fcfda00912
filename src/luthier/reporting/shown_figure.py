"""A figure of its own: a notebook shows it, and it is saved as an SVG file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.errors import DataError
from luthier.evaluation.resampling import plain
from luthier.outputs import check_file, write_file
from luthier.reporting.charts.chart import Figure
from luthier.reporting.charts.draw import figure_svg
from luthier.reporting.html import fragment
from luthier.reporting.table import Section

__all__ = ["ShownFigure"]


@dataclass(frozen=True)
class ShownFigure:
    """A figure that a notebook shows.

    Attributes:
        figure: the data and what is said of it.

    Examples:
        >>> from luthier.reporting.charts.chart import Axis, Chart, Dots
        >>> chart = Chart("Cost", "Two trials.", Axis("trial"), Axis("$"), (Dots((0, 1), (0.2, 0.4)),))
        >>> ShownFigure(chart)
        Cost: Two trials. A notebook shows this figure; .save("figure.svg") writes it.
    """

    figure: Figure

    def save(self, path: str | Path) -> Path:
        """Writes the figure as an SVG file that needs nothing else.

        Args:
            path: of the file, which ends in `.svg`; a file that is there is replaced, missing folders are made.

        Returns:
            The path written.

        Raises:
            DataError: the name ends otherwise, or the file cannot be written.
        """
        file = Path(path)
        if file.suffix.lower() != ".svg":
            named = file.with_suffix(".svg")
            raise DataError(f"{file} does not end in .svg, and figures are saved as SVG. Name it {named}.")
        file = check_file(file)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            return write_file(file, figure_svg(self.figure))
        except OSError as error:
            raise DataError(f"cannot write {file}: {error.strerror}. Choose another folder.") from error

    def document(self) -> dict[str, Any]:
        """The data behind the figure as JSON values."""
        found: dict[str, Any] = plain(self.figure)
        return found

    def _repr_html_(self) -> str:
        return fragment(Section("", (self.figure,)))

    def __repr__(self) -> str:
        title = f"{self.figure.title}: " if self.figure.title else ""
        return f'{title}{self.figure.said} A notebook shows this figure; .save("figure.svg") writes it.'

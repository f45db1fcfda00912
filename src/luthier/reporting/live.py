"""A leaderboard while it grows: in place on a terminal, a line per spec in a log, one output in a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from luthier.engine.ask_options import Progress
from luthier.engine.progress import TerminalProgress
from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.reporting.board_report import board_section, board_sections
from luthier.reporting.board_sentences import in_words, sentences
from luthier.reporting.html import fragment
from luthier.reporting.numbers import printable
from luthier.reporting.table import Section
from luthier.reporting.terminal import rendered

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["LiveBoard", "DisplayBudget"]

LINES_AROUND = 14
"""Lines of a terminal that title, header, references, sentences and bar take beside the specs."""

SHARE = 0.05
SPENT_FREELY_SECONDS = 5.0
"""What may go into showing a comparison before it is complete: a share of its time, beyond some seconds."""


class LiveBoard:
    """Shows the leaderboard of the specs measured so far, and beneath it a bar for the one at work.

    Use it as a context manager around the whole: what is shown is cleared away at its end, since the complete
    leaderboard follows, and stays where the work is interrupted or fails.

    Args:
        stream: where it is written outside a notebook; standard error when absent.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._bar = TerminalProgress(stream=stream)
        self._said: set[tuple[str, str]] = set()
        self._output: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close(wipe=kind is None)
        if kind is None and self._output is not None:
            from IPython.display import HTML

            self._output.update(HTML(""))  # type: ignore[no-untyped-call]

    def turn_to(self, spec: str) -> Progress:
        """The bar, which from now on is that of this spec."""
        self._bar.turn_to(spec)
        return self._bar

    def show(self, board: Leaderboard, table: str = "") -> None:
        """Shows the leaderboard of what is measured so far.

        Args:
            board: as far as it is.
            table: name of the test table, where specs are compared on several.
        """
        stream = self._stream or sys.stderr
        if self._stream is None and _in_notebook():
            self._show_in_notebook(board, table)
        elif stream.isatty():
            self._bar.keep_above(_drawn(board, table, stream))
        else:
            for entry in sorted(board.entries, key=lambda entry: entry.name):
                if (table, entry.name) not in self._said:
                    self._said.add((table, entry.name))
                    print(_line(board, entry, table), file=stream, flush=True)

    def _show_in_notebook(self, board: Leaderboard, table: str) -> None:
        from IPython.display import HTML, display

        sections = board_sections(board)
        page = HTML(fragment(Section(table, sections) if table else sections[0]))  # type: ignore[no-untyped-call]
        if self._output is None:
            self._output = display(page, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._output.update(page)


class DisplayBudget:
    """Limits the time spent on showing intermediate results to a small share of the whole.

    Examples:
        >>> budget = DisplayBudget(clock=iter([0.0, 1.0, 8.0, 9.0, 100.0]).__next__)
        >>> with budget:
        ...     pass
        >>> budget.is_due, budget.is_due
        (False, True)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._entered = clock()
        self._spent = 0.0

    @property
    def is_due(self) -> bool:
        """Whether more may be shown now."""
        return self._spent <= SPENT_FREELY_SECONDS + SHARE * (self._clock() - self._began)

    def __enter__(self) -> None:
        self._entered = self._clock()

    def __exit__(self, *_: object) -> None:
        self._spent += self._clock() - self._entered


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows outputs that change."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return running is not None and hasattr(running, "kernel")


def _drawn(board: Leaderboard, table: str, stream: TextIO) -> RenderableType:
    from rich.console import Console

    console = Console(file=stream)
    most = max(3, (console.height - LINES_AROUND) // 2)
    section = board_section(board, sentences(board)[:1] if board.waiting else [], most)
    return rendered(replace(section, title=f"{table}: {section.title}") if table else section, console)


def _line(board: Leaderboard, entry: Entry, table: str) -> str:
    whole = len(board.entries) + len(board.waiting)
    line = f"{in_words(board, entry, bounds_of=1)} ({len(board.entries)} of {whole} specs are measured)"
    return printable(f"{table}: {line}" if table else line)

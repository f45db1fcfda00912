"""The verb that lists every prompt that was measured, with its figures, what it was made from and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from luthier.api.arguments import need_whole
from luthier.errors import UserError
from luthier.evaluation.resampling import plain
from luthier.history.prompt_history import MeasuredWording, PromptHistory, prompts_of_task
from luthier.history.prompt_report import detail_sections, prompts_page, prompts_sections, unmeasured_sections
from luthier.history.runs import is_task
from luthier.reporting.html import fragment, write_page
from luthier.reporting.table import Page, Section
from luthier.reporting.terminal import show, text_of
from luthier.spec import Spec
from luthier.tasks.task import Task
from luthier.techniques import read_spec
from luthier.techniques.wordings import prompt_digest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PromptList", "prompts"]

MOST_SHOWN = 20
"""Figures of a table that a notebook and a terminal show."""


class PromptList(Sequence[MeasuredWording]):
    """Prompts that were measured, the newest first: shows itself in a notebook, prints itself in a terminal.

    Each is a `MeasuredWording`: `found[0].diff` is what changed from the prompt it was made from, `found[0].figures`
    what it reached on which rows.

    Attributes:
        history: the records.
    """

    def __init__(self, history: PromptHistory, spec: Spec | None = None, limit: int | None = MOST_SHOWN) -> None:
        self.history, self._spec, self._limit = history, spec, limit

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row per prompt, rows and model, the newest first; figures with other `rows_digest` cannot be compared."""
        import pandas as pd

        metric = self.history.metric
        lines = []
        for one in self:
            for figure in one.latest(metric).values():
                value = figure.metrics[metric]
                lines.append(
                    {
                        "prompt": one.number,
                        "spec": figure.spec,
                        "model": figure.model,
                        "table": figure.table,
                        "rows": figure.rows,
                        "rows_digest": figure.test_digest,
                        metric: value.value,
                        f"{metric}_low": value.low,
                        f"{metric}_high": value.high,
                        "paid_usd": figure.spent_usd,
                        "price_usd": figure.price_usd,
                        "made_from": one.parent_number,
                        "made_from_is_likely": one.parent is not None and one.parent.is_likely,
                        "how": "" if one.parent is None else one.parent.how,
                        "change": "" if one.parent is None else one.parent.change,
                        "measured": pd.Timestamp(figure.when, unit="s", tz="UTC"),
                        "run_id": figure.run_id,
                        "digest": one.digest,
                    }
                )
        found = pd.DataFrame(lines)
        return found.astype({"made_from": "Int64"}) if lines else found

    @property
    def page(self) -> Page:
        """Everything on one page: figures, texts, what changed and what it cost."""
        return prompts_page(self.history)

    def write_page(self, path: str | Path) -> Path:
        """Writes the page as one HTML file that needs no network; an earlier page is replaced.

        Raises:
            DataError: the file cannot be written, or a file that is no page is there.
        """
        return write_page(self.page, path)

    def document(self) -> dict[str, Any]:
        """Every prompt with all its figures as JSON values, the newest first."""
        history = self.history
        return {
            "task": history.task,
            "metric": history.metric,
            "spent_usd": history.spent_usd,
            "measurements_of_unknown_cost": history.unknown_spent,
            "unread_runs": history.unread,
            "prompts": [
                {name: value for name, value in plain(one).items() if name != "parent_text"}
                | {"text": one.text, "diff": one.diff, "spent_usd": one.spent_usd, "price_usd": one.price_usd}
                for one in self
            ],
        }

    def show(self, *, diff: bool = False) -> None:
        """Prints the tables on standard output.

        Args:
            diff: also what changed from prompt to prompt.
        """
        show(*self._sections(diff=diff))

    def _sections(self, *, diff: bool = False) -> tuple[Section, ...]:
        sections = prompts_sections(self.history, self._limit)
        if self._spec is not None:
            sections += unmeasured_sections(self.history, self._spec)
        return sections + (detail_sections(self[: self._limit]) if diff else ())

    @overload
    def __getitem__(self, place: int) -> MeasuredWording: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[MeasuredWording, ...]: ...
    def __getitem__(self, place: int | slice) -> MeasuredWording | tuple[MeasuredWording, ...]:
        return self.history.wordings[::-1][place]

    def __len__(self) -> int:
        return len(self.history.wordings)

    def _repr_html_(self) -> str:
        return fragment(*self._sections())

    def __repr__(self) -> str:
        return text_of(*self._sections())


def prompts(
    of: str | Path | Task | Spec | None = None,
    *,
    task: str | None = None,
    metric: str | None = None,
    limit: int | None = MOST_SHOWN,
) -> PromptList:
    """Every prompt that was measured, with its figures, what it was made from and what it cost; no model is called.

    Args:
        of: a task or its name, for all its prompts; or a spec, for its prompts, those they were made from and those
            made from them. A spec is given as itself, as its file, by the name it was measured under, or as one prompt
            of it: its number, as `#12`, or the beginning of its digest. Everything of the task when absent.
        task: name of the task; needed where the tracking store has several, and nothing else says it.
        metric: metric to show; the one the newest comparison was ranked by when absent.
        limit: most figures that a table shows, the best; all for `None`. The records have all.

    Returns:
        The prompts, the newest first. `found[0].diff` is what changed, `found.frame` a row per prompt, rows and model,
        `found.write_page("prompts.html")` a page.

    Raises:
        DataError: there is no such task, or several and none was named.
        SpecError: the file is no spec.
        UserError: no prompt was measured, or none under that name or in that metric.
    """
    if limit is not None:
        need_whole("limit", limit, 1)
    spec: Spec | None = None
    name: str | None = None
    if isinstance(of, Task):
        task = _one_task(task, of.name)
    elif isinstance(of, Spec):
        spec = of
    elif isinstance(of, Path) or (of is not None and of.endswith((".yaml", ".yml"))):
        spec = read_spec(of)
    elif of is not None:
        name = of
    if spec is not None:
        task = _one_task(task, spec.task.name)
    elif name is not None and task is None and is_task(name) and not is_task():
        # Of several tasks it can only be the name of one.
        task, name = name, None
    history = prompts_of_task(task, metric)
    if name == history.task and not any(name in one.names for one in history.wordings):
        name = None
    if spec is not None:
        digest = prompt_digest(spec)
        if digest is None:
            raise UserError(f"spec {spec.name!r} has no prompt: technique {spec.technique} asks none.")
        known = any(one.digest == digest for one in history.wordings)
        name = spec.name if any(spec.name in one.names for one in history.wordings) or not known else digest
    return PromptList(history if name is None else history.of_spec(name), spec, limit)


def _one_task(given: str | None, said: str) -> str:
    if given not in (None, said):
        raise UserError(f"the spec is of task {said!r}, and task is {given!r}; leave the task out.")
    return said

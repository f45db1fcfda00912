"""Rows tried one after another while the wording changes: what was asked, what it cost, and a spec file in the end."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.documents import described
from luthier.engine.options import DEFAULTS, RunOptions
from luthier.engine.report import Report, counted
from luthier.errors import DataError, SpecError, UserError
from luthier.experiments.try_row import TriedRow, frame_records
from luthier.experiments.try_setup import TrySetup
from luthier.plans import Plan
from luthier.providers.prices import dollars
from luthier.spec import Spec
from luthier.tables.series import frame_of_records
from luthier.tasks.task import Rows, Task
from luthier.techniques.prompt.recipe import PromptRecipe
from luthier.techniques.spec_writing import check_spec_file, save_spec
from luthier.techniques.wordings import prompt_digest
from luthier.terminals import visible

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TrySession"]

DEARER = 2.0
"""A row that may cost more than so many times what was agreed to has its price shown again."""


class TrySession:
    """What a trial does, without a form: `TryOut` is one that shows itself in a notebook.

    Args:
        specs: recipes for one task, such as one per model.
        rows: a table to take rows from.
        train: labelled rows for specs that need them.
        options: on what terms models are asked; a budget is for everything that is tried.
        agree: is shown the price before anything is sent, and raises where a person does not agree; prints it when
            absent.
        specs_for: makes the specs of other models, by their names.
        origin: where the spec comes from, for the first line of a file that is saved.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        rows: pd.DataFrame | None = None,
        *,
        train: pd.DataFrame | None = None,
        options: RunOptions = DEFAULTS,
        agree: Callable[[Plan], None] | None = None,
        specs_for: Callable[[Sequence[str]], Sequence[Spec]] | None = None,
        origin: str = "",
    ) -> None:
        self._setup = TrySetup(specs, train)
        self._given = tuple(specs)
        self._options = replace(options, report=Report())
        self._agree = agree or _print_plan
        self._specs_for, self._origin = specs_for, origin
        self._rows: Rows | None = None if rows is None else self._setup.task.rows(rows)
        self._last: Rows | None = None
        self._check_columns(self._setup)
        self._agreed_usd: float | None = None
        self._agreed_unknown: set[str] = set()
        # The settings of each wording, so that other models are asked with the same.
        self._wording: dict[str, Any] = {}
        self._wording_before: dict[str, Any] = {}
        self._saved = {prompt_digest(spec) for spec in specs}
        self.history: list[TriedRow] = []
        """Everything that was tried, in order."""

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The specs as they are now, one per model."""
        return self._setup.specs

    @property
    def before(self) -> tuple[Spec, ...]:
        """The specs as they were before the last edit, as long as both are asked."""
        return self._setup.before

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the specs, which are those of models where several are asked."""
        return tuple(spec.name for spec in self.specs)

    @property
    def last(self) -> TriedRow | None:
        """What was tried last."""
        return self.history[-1] if self.history else None

    @property
    def row_count(self) -> int:
        """How many rows the table has; 0 without a table."""
        return 0 if self._rows is None else len(self._rows)

    @property
    def task(self) -> Task:
        """The question."""
        return self._setup.task

    @property
    def takes_models(self) -> bool:
        """Whether other models can be looked up by their names."""
        return self._specs_for is not None

    def inputs_of(self, number: int) -> Mapping[str, Any]:
        """A row of the table by column.

        Args:
            number: from 1.

        Raises:
            DataError: there is no such row.
        """
        return self._row(number).inputs[0]

    @property
    def report(self) -> Report:
        """Calls, tokens and money of everything that was tried."""
        assert self._options.report is not None
        return self._options.report

    @property
    def spent_usd(self) -> float | None:
        """US dollars spent so far; `None` where a price is not known."""
        return self.report.spent_now_usd

    @property
    def edits(self) -> tuple[tuple[str, str, str], ...]:
        """Parts of the prompt that differ between both wordings: the name, the text before and after."""
        if not self.before:
            return ()
        old, new = self.before[0], self.specs[0]
        assert isinstance(old, PromptRecipe) and isinstance(new, PromptRecipe)
        parts = ("system", old.prompt.system or "", new.prompt.system or "")
        texts = ("template", old.prompt.template, new.prompt.template)
        return tuple(part for part in (parts, texts) if part[1] != part[2])

    @property
    def diff(self) -> str:
        """What was edited, as lines with - and +; empty where nothing was."""
        return TriedRow(self._setup.task, {}, (), edits=self.edits).diff

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each answer: text, model, wording, prompt, answer, label, probabilities, tokens, price, latency."""
        return frame_of_records(frame_records(self.history))

    @property
    def wording(self) -> dict[str, str]:
        """The `template` and the `system` turn as they are now; the latter is empty where there is none.

        Raises:
            SpecError: the spec is no prompt.
        """
        prompt = self._prompts()[0].prompt
        return {"template": prompt.template, "system": prompt.system or ""}

    def _prompts(self) -> list[PromptRecipe]:
        found = [spec for spec in self.specs if isinstance(spec, PromptRecipe)]
        other = next((spec for spec in self.specs if spec not in found), None)
        if other is not None:
            raise SpecError(f"spec {other.name!r} is of technique {other.technique}, which has no prompt to edit.")
        return found

    def plan(self, row: str | Mapping[str, Any] | int | None = None) -> Plan:
        """What asking a row would send and cost, for all models and wordings; sends nothing.

        Args:
            row: as for `ask`.
        """
        return self._setup.plan(self._row(row), self._options)

    def price_to_show(self, row: str | Mapping[str, Any] | int | None = None) -> Plan | None:
        """The plan of a row, where its price was not agreed to yet; `None` where it may be asked at once.

        Args:
            row: as for `ask`.
        """
        plan = self.plan(row)
        if not plan.asks:
            return None
        if plan.cost_usd_high is None:
            unknown = {one.name for one in plan.specs if one.asks and one.cost_usd_high is None}
            return None if unknown <= self._agreed_unknown else plan
        agreed = self._agreed_usd
        return None if agreed is not None and plan.cost_usd_high <= DEARER * agreed else plan

    def agree_to(self, plan: Plan) -> None:
        """Takes a price as agreed to; rows that may cost more than twice as much have theirs shown again."""
        self._agreed_unknown |= {one.name for one in plan.specs if one.asks and one.cost_usd_high is None}
        self._agreed_usd = max(plan.cost_usd_high or 0.0, self._agreed_usd or 0.0)

    def ask(self, row: str | Mapping[str, Any] | int | None = None) -> TriedRow:
        """Asks a row of every model, with both wordings where the prompt was edited.

        The price is shown before anything is sent for the first time.

        Args:
            row: a text, a row by column, or the number of a row of the table from 1; the one asked last when absent,
                at first the first of the table.

        Raises:
            DataError: there is no such row, or it lacks a column.
            EndpointError: no model could be asked.
            BudgetReached: the budget does not pay for it.
        """
        asked = self._row(row)
        plan = self.price_to_show(row)
        if plan is not None:
            self._agree(plan)
            self.agree_to(plan)
        # Kept also where asking fails, so that it can be asked again.
        self._last = asked
        tried = self._setup.run(asked, self._options)
        number = asked.numbers[0] if asked.numbers else None
        found = TriedRow(
            self._setup.task, asked.inputs[0], tried, number, asked.labels[0], self.edits, self._spending()
        )
        self.history.append(found)
        return found

    def edit(self, *, template: str | None = None, system: str | None = None) -> TriedRow | None:
        """Changes the wording. The row asked last is asked with both wordings, and so are those to come.

        `keep` goes on with the new wording alone, `undo` with the old one.

        Args:
            template: the new template of the user turn, or of the text to complete; as it is when absent.
            system: the new system turn, none where it is empty; as it is when absent.

        Returns:
            The answers to both wordings; `None` where no row was asked yet.

        Raises:
            SpecError: the template is wrong, the spec is no prompt, or nothing would change.
            DataError: the template names a column that the rows do not have.
        """
        self.reword(template=template, system=system)
        return None if self._last is None else self.ask()

    def reword(self, *, template: str | None = None, system: str | None = None) -> None:
        """As `edit`, and asks nothing yet.

        Raises:
            SpecError: the template is wrong, the spec is no prompt, or nothing would change.
            DataError: the template names a column that the rows do not have.
        """
        settings: dict[str, Any] = {}
        for one in self._prompts():
            if template is not None and template != one.prompt.template:
                settings["prompt.template"] = template
            if system is not None and (system or None) != one.prompt.system:
                settings["prompt.system"] = system or None
        if not settings:
            raise SpecError("nothing would change: give a template or a system turn that differs from the present one.")
        changed = self._setup.of_wording(after=True).with_settings(settings)
        self._check_columns(changed)
        self._setup = changed
        self._wording_before, self._wording = self._wording, self._wording | settings

    def keep(self) -> None:
        """Goes on with the wording after the edit alone."""
        self._setup = self._setup.of_wording(after=True)
        self._wording_before = {}

    def undo(self) -> None:
        """Goes back to the wording before the last edit.

        Raises:
            UserError: there is none.
        """
        if not self.before:
            raise UserError("there is no edit to take back.")
        self._setup = self._setup.of_wording(after=False)
        self._wording, self._wording_before = self._wording_before, {}

    def use(self, *models: str) -> None:
        """Asks these models from now on, with the wording as it is now.

        Args:
            models: names in any provider's spelling; the spec's own model where there is none.

        Raises:
            UserError: a model is not known, or no service here answers it.
        """
        if models and self._specs_for is None:
            raise UserError("other models cannot be looked up here; lt.try_out makes a trial that can.")
        specs = self._specs_for(models) if models and self._specs_for is not None else self._given
        after = [spec.with_settings(self._wording) if self._wording else spec for spec in specs]
        earlier = self._wording_before
        before = [spec.with_settings(earlier) if earlier else spec for spec in specs] if self.before else []
        made = TrySetup(after, self._setup.train, before=before)
        self._check_columns(made)
        self._setup = made

    def save(self, path: str | Path, model: str | None = None) -> Path:
        """Writes the spec as it is now to a file of its own, named after it. Comments of the first file are not kept.

        Args:
            path: the file; one that holds another spec is never replaced.
            model: which one is saved, where several are asked.

        Raises:
            UserError: it is not said which, or the file cannot be written.
        """
        chosen = self._chosen(model)
        file = save_spec(chosen, path, f"Saved by luthier try{self._from()}.")
        self._saved.add(prompt_digest(chosen))
        return file

    def check_file(self, path: str | Path, model: str | None = None) -> None:
        """Refuses a file that `save` could not write, before anything is paid.

        Args:
            path: as for `save`.
            model: as for `save`.

        Raises:
            UserError: it is not said which spec, or the file cannot be written.
        """
        check_spec_file(self._chosen(model), path)

    @property
    def unsaved(self) -> str:
        """The prompt, where it was edited and is in no file; else empty."""
        edited = bool(self._wording) and prompt_digest(self.specs[0]) not in self._saved
        return str(getattr(self.specs[0], "prompt_text", "")) if edited else ""

    def _chosen(self, model: str | None) -> Spec:
        chosen = [spec for spec in self.specs if model is None or model in (spec.name, spec.base_model)]
        if len(chosen) != 1:
            wrong = f"no spec here is called {model!r}" if model is not None else "a file holds one spec"
            raise UserError(f"{wrong}; say which: {', '.join(self.models)}.")
        return chosen[0]

    def _from(self) -> str:
        digest = prompt_digest(self._given[0])
        prompt = "" if digest is None else f" (prompt {digest[:12]})"
        return f", made from {self._origin or self._given[0].name}{prompt}"

    def _row(self, given: str | Mapping[str, Any] | int | None) -> Rows:
        if given is None:
            if self._last is not None:
                return self._last
            if self._rows is None:
                raise DataError("no row to ask: give a text, or a table whose rows are asked by their number.")
            given = 1
        if isinstance(given, str | Mapping):
            return replace(self._setup.row(given), numbers=())
        if isinstance(given, bool) or not isinstance(given, int):
            raise DataError(f"a row is a text, a dict, or a number from 1; given: {described(given)}.")
        if self._rows is None:
            raise DataError(f"row {given} of which table? Give one with --rows TABLE (rows=).")
        if not 1 <= given <= len(self._rows):
            raise DataError(f"there is no row {given:,}; the table has rows 1 to {len(self._rows):,}.")
        return self._rows.take([given - 1])

    def _check_columns(self, setup: TrySetup) -> None:
        known = self._last if self._last is not None else self._rows
        if known is not None:
            for spec in setup.specs:
                spec.check_columns(known.inputs[0], "the row" if self._last is not None else "the table")

    def _spending(self) -> str:
        report, budget = self.report, self._options.budget_usd
        if not report.requests:
            return ""
        of = "" if budget is None else f" of {dollars(budget)}"
        unpriced = f" and {counted(report.now.unpriced, 'call')} of unknown price" if report.now.unpriced else ""
        return f"spent so far: {dollars(report.spent_usd)}{of}{unpriced}, for {counted(report.fetched, 'new answer')}"

    def __str__(self) -> str:
        asked = ", ".join(spec.base_model if spec.endpoint is not None else spec.name for spec in self.specs)
        table = f", {counted(self.row_count, 'row')} to choose from" if self._rows is not None else ""
        lines = [f"{self._origin or self.specs[0].name} asked of {asked}{table}; {len(self.history)} tried so far."]
        lines.append('.ask("a text"), .ask({"column": ...}) or .ask(3) asks; .edit(template=...) asks both wordings;')
        lines.append('.save("models/new.yaml") writes the spec; .frame has everything that was tried.')
        if self.history:
            lines.append(self.history[-1].spending)
        return visible("\n".join(line for line in lines if line))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def _print_plan(plan: Plan) -> None:
    print(visible(str(plan)))

"""The form of a trial in a notebook: a row, models, the wording, the price before the first sending, the answers."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from luthier.errors import LuthierError
from luthier.experiments.try_session import TrySession
from luthier.techniques.prompt.recipe import PromptRecipe
from luthier.terminals import visible

if TYPE_CHECKING:
    from luthier.plans import Plan

__all__ = ["TryForm"]

ASK = "Ask"


class TryForm:
    """A form of ipywidgets; `box` is what a notebook shows.

    The first press of `ask` shows the price, the second sends; later ones send at once, unless a row may cost more
    than twice as much.

    Args:
        trial: what is asked and edited.
    """

    def __init__(self, trial: TrySession) -> None:
        import ipywidgets as widgets

        self._trial = trial
        self._priced: Plan | None = None
        wide = widgets.Layout(width="98%")
        plain = {"layout": wide, "style": {"description_width": "6em"}}
        self.text = widgets.Textarea(description="text", rows=3, placeholder="a text to ask", **plain)
        self.row = widgets.BoundedIntText(1, min=1, max=max(1, trial.row_count), description="row", **plain)
        self.row.layout = widgets.Layout(width="12em")
        self.models = widgets.Text(self._asked, description="models", **plain)
        self.models.disabled = not trial.takes_models
        self.system = widgets.Textarea(description="system", rows=2, **plain)
        self.template = widgets.Textarea(description="template", rows=4, **plain)
        self.ask = widgets.Button(description=ASK, button_style="primary", layout=widgets.Layout(width="auto"))
        self.keep = widgets.Button(description="Keep new wording", layout=widgets.Layout(width="auto"))
        self.undo = widgets.Button(description="Undo edit", layout=widgets.Layout(width="auto"))
        self.file = widgets.Text(placeholder="models/new.yaml", layout=widgets.Layout(width="16em"))
        self.save = widgets.Button(description="Save", layout=widgets.Layout(width="auto"))
        self.said = widgets.HTML()
        self.answer = widgets.HTML()
        self.ask.on_click(lambda _: self._try(self._ask))
        self.keep.on_click(lambda _: self._try(self._keep))
        self.undo.on_click(lambda _: self._try(self._undo))
        self.save.on_click(lambda _: self._try(self._save))
        self.row.observe(lambda _: self._take_row(), "value")
        for field in (self.text, self.models, self.system, self.template):
            field.observe(lambda _: self._forget_price(), "value")
        if trial.row_count:
            self._take_row()
        editing = [self.system, self.template] if self._is_prompt else []
        edits = [self.keep, self.undo] if self._is_prompt else []
        rows = [self.row] if trial.row_count else []
        buttons = widgets.HBox([self.ask, *edits, self.file, self.save])
        self.box = widgets.VBox([*rows, self.text, self.models, *editing, buttons, self.said, self.answer])
        self._show_wording()
        if trial.last is not None:
            self.answer.value = trial.last._repr_html_()

    @property
    def _asked(self) -> str:
        return ", ".join(spec.base_model for spec in self._trial.specs)

    @property
    def _is_prompt(self) -> bool:
        return all(isinstance(spec, PromptRecipe) for spec in self._trial.specs)

    def _try(self, action: Any) -> None:
        self.said.value = ""
        try:
            action()
        except LuthierError as error:
            # A mistake is said in the form, which goes on.
            self._say(str(error))

    def _ask(self) -> None:
        trial = self._trial
        if self.models.value != self._asked:
            trial.use(*self.models.value.replace(",", " ").split())
            self.models.value = self._asked
        self._reword()
        row = self._row()
        plan = trial.price_to_show(row)
        if plan is not None and str(plan) != str(self._priced):
            self._priced = plan
            self.ask.description = "Ask at this price"
            self._say(str(plan))
            return
        if plan is not None:
            trial.agree_to(plan)
        self._forget_price()
        self.ask.disabled, self.ask.description = True, "asking ..."
        try:
            self.answer.value = trial.ask(row)._repr_html_()
        finally:
            self.ask.disabled, self.ask.description = False, ASK

    def _reword(self) -> None:
        spec = self._trial.specs[0]
        if not isinstance(spec, PromptRecipe):
            return
        system, template = self.system.value, self.template.value
        if system != (spec.prompt.system or "") or template != spec.prompt.template:
            self._trial.reword(template=template, system=system)

    def _row(self) -> str | Mapping[str, Any] | int:
        """The row of the table, as long as its text was not changed; else its other columns with the new text."""
        if not self._trial.row_count:
            return str(self.text.value)
        inputs = self._trial.inputs_of(self.row.value)
        text = self._trial.task.text
        if self.text.value == str(inputs[text] or ""):
            return int(self.row.value)
        return {**inputs, text: self.text.value}

    def _take_row(self) -> None:
        self.text.value = str(self._trial.inputs_of(self.row.value)[self._trial.task.text] or "")

    def _forget_price(self) -> None:
        self._priced = None
        self.ask.description = ASK

    def _keep(self) -> None:
        self._trial.keep()
        self._say("the new wording alone is asked from now on")

    def _undo(self) -> None:
        self._trial.undo()
        self._show_wording()

    def _save(self) -> None:
        if not self.file.value.strip():
            self._say("give the file to write, such as models/new.yaml")
            return
        self._reword()
        self._say(f"written: {self._trial.save(self.file.value.strip())}")

    def _show_wording(self) -> None:
        spec = self._trial.specs[0]
        if isinstance(spec, PromptRecipe):
            self.system.value, self.template.value = spec.prompt.system or "", spec.prompt.template

    def _say(self, text: str) -> None:
        self.said.value = f'<pre style="white-space:pre-wrap;line-height:1.3">{html.escape(visible(text))}</pre>'

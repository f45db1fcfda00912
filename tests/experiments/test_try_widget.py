"""The form of a trial: its buttons, pressed; a price before the first sending; mistakes are said in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Engine
from luthier.experiments.try_widget import TryForm
from tests.scripted_server import serving


def form_of(task: lt.Task, endpoint: Endpoint, engine: Engine, rows: Any = None, **given: Any) -> TryForm:
    spec = lt.Prompt(task, "Stars for: {{ text }}", endpoint=endpoint, name="stars", answer="score")
    return lt.try_out(spec, rows, engine=engine, **given).form()


def test_the_first_press_shows_the_price_and_the_second_sends(
    task: lt.Task, endpoint: Endpoint, engine: Engine
) -> None:
    form = form_of(task, endpoint, engine)
    form.text.value = "The soup was great wonderful amazing"
    form.ask.click()
    assert "1 call" in form.said.value and "$" in form.said.value and form.answer.value == ""
    assert engine.report.sent == 0 and form.ask.description == "Ask at this price"
    form.ask.click()
    assert engine.report.sent == 1 and "stars-model answered" not in form.said.value
    assert "great wonderful amazing" in form.answer.value and form.ask.description == "Ask"
    form.text.value = "The soup was terrible"
    form.ask.click()
    assert engine.report.sent == 2


def test_a_row_that_changes_after_the_price_was_shown_is_not_sent_at_that_price(
    task: lt.Task, endpoint: Endpoint, engine: Engine
) -> None:
    form = form_of(task, endpoint, engine)
    form.text.value = "short"
    form.ask.click()
    form.text.value = "a far longer text " * 300
    form.ask.click()
    assert engine.report.sent == 0


def test_another_template_is_asked_beside_the_old_one_and_saved(
    task: lt.Task, endpoint: Endpoint, engine: Engine, table: pd.DataFrame, tmp_path: Path
) -> None:
    form = form_of(task, endpoint, engine, table)
    form.row.value = 3
    assert form.text.value == table["text"][2]
    form.ask.click()
    form.ask.click()
    assert f"stars is {table['stars'][2]}" in form.answer.value
    form.template.value = "Rating of: {{ text }}"
    form.ask.click()
    if form.ask.description != "Ask":
        form.ask.click()
    assert "before" in form.answer.value and "+ Rating of" in form.answer.value
    form.save.click()
    assert "give the file" in form.said.value
    form.file.value = "new.yaml"
    form.save.click()
    saved = lt.read_spec(tmp_path / "new.yaml")
    assert isinstance(saved, lt.Prompt) and saved.prompt.template == "Rating of: {{ text }}"
    form.undo.click()
    assert form.template.value == "Stars for: {{ text }}"


def test_a_mistake_is_said_in_the_form(task: lt.Task, endpoint: Endpoint, engine: Engine) -> None:
    form = form_of(task, endpoint, engine)
    form.text.value = "soup"
    for field, wrong in ((form.template, "{{ text"), (form.models, "no-such-model")):
        kept, field.value = field.value, wrong
        form.ask.click()
        assert "<pre" in form.said.value and form.answer.value == "" and not form.ask.disabled
        field.value = kept
    form.undo.click()
    assert "no edit" in form.said.value


def test_what_a_stranger_answers_is_text_in_the_form(task: lt.Task, engine: Engine) -> None:
    choice = {"message": {"role": "assistant", "content": "<img src=x onerror=alert()>"}, "finish_reason": "stop"}
    with serving(200, json.dumps({"choices": [choice]})) as url:
        spec = lt.Prompt(task, "{{ text }}", endpoint=lt.compatible("m", url), name="s")
        form = lt.try_out(spec, engine=engine).form()
        form.text.value = "<b>soup</b>"
        form.ask.click()
        form.ask.click()
    assert "<img" not in form.answer.value and "&lt;img" in form.answer.value and "<b>soup" not in form.answer.value


def test_a_notebook_shows_the_form_and_a_terminal_the_calls(task: lt.Task, endpoint: Endpoint, engine: Engine) -> None:
    spec = lt.Prompt(task, "{{ text }}", endpoint=endpoint, name="stars")
    shown = lt.try_out(spec, engine=engine)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert ".ask(" in shown["text/plain"] and ".ask(" in shown["text/html"]


def test_a_spec_without_a_prompt_has_no_fields_to_edit_it(task: lt.Task, engine: Engine, train: pd.DataFrame) -> None:
    form = lt.try_out(lt.Baseline(task, name="plain"), train=train, engine=engine).form()
    assert form.template not in form.box.children
    form.text.value = "The soup was great wonderful amazing"
    form.ask.click()
    assert "calls no model" in form.answer.value


@pytest.mark.slow
def test_without_ipywidgets_the_calls_are_shown(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys; sys.modules['ipywidgets'] = None\n"
        "import luthier as lt\n"
        "task = lt.Task('mood', labels=['good', 'bad'])\n"
        "tried = lt.try_out(lt.Prompt(task, '{{ text }}', endpoint=lt.openai('m')))\n"
        "print(sorted(tried._repr_mimebundle_()))\n"
        "try: tried.form()\n"
        "except lt.MissingPart as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "['text/html', 'text/plain']" in done.stdout and "luthier[notebook]" in done.stdout

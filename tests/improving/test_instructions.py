"""Where instructions stand in a prompt, and that others in their place are data."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

import luthier as lt
from luthier.improving.instructions import NoPrompt, as_template, instructions_of, plain_text, shown_text
from luthier.techniques import Prompt, read_spec
from luthier.techniques.prompt.template import compiled

ROW = {"text": "Cold soup {{ 1 }}", "title": "Dull"}
NEW = "Judge how content the guest is, as a number from 1 to 5."


def prompt(template: str, task: lt.Task, **settings: Any) -> Prompt:
    return lt.Prompt(task, template, endpoint=lt.openai("some-model"), name="first", **settings)


def filled(spec: Prompt) -> list[str | None]:
    """Both turns of a row."""
    sources = (spec.prompt.system, spec.prompt.template)
    return [source and compiled(source).fill(ROW, spec.task.labels, spec.words) for source in sources]


@pytest.mark.parametrize(
    ("template", "system", "style", "place", "shown", "turns"),
    [
        ("Text: {{ text }}\nAnswer:", "Which fits? {{ words | join(', ') }}.", "chat", "system",
         "Which fits? 1, 2, 3, 4, 5.", [NEW, "Text: Cold soup {{ 1 }}\nAnswer:"]),
        ("{{ text }}", "{% for word in words %}- {{ word }}\n{% endfor %}", "chat", "system",
         "- 1\n- 2\n- 3\n- 4\n- 5\n", [NEW, "Cold soup {{ 1 }}"]),
        ("Stars for: {{ text }}", None, "chat", "system", "", [NEW, "Stars for: Cold soup {{ 1 }}"]),
        ("Stars for: {{ text }}", None, "completion", "system", "", [NEW, "Stars for: Cold soup {{ 1 }}"]),
        ("Say how many stars, 1 to 5, this review gives.\n\n{{ title }}\n{{ text }}\nStars:", None, "chat", "template",
         "Say how many stars, 1 to 5, this review gives.\n\n[[title]]\n[[text]]\nStars:",
         [None, f"{NEW}\n\nDull\nCold soup {{{{ 1 }}}}\nStars:"]),
        ("Say how many stars, 1 to 5, this review gives.\nReview: {{ text }}\nStars:", None, "completion", "template",
         "Say how many stars, 1 to 5, this review gives.", [None, f"{NEW}\n\nReview: Cold soup {{{{ 1 }}}}\nStars:"]),
        ("Say how many stars, 1 to 5, this review gives: {{ text }}", "You are helpful.", "chat", "template",
         "Say how many stars, 1 to 5, this review gives: [[text]]",
         ["You are helpful.", f"{NEW}\n\nSay how many stars, 1 to 5, this review gives: Cold soup {{{{ 1 }}}}"]),
        ("{{ text }}", "You rate {% if title %}{{ title }}{% endif %} for us.", "chat", "system",
         "You rate [[title]] for us.", [f"{NEW}\n\nYou rate Dull for us.", "Cold soup {{ 1 }}"]),
        ("{% set short = text | truncate(9) %}How many stars does it give, from 1 to 5: {{ short }}", None,
         "chat", "system", "", [NEW, "How many stars does it give, from 1 to 5: Cold..."]),
        ("{# a note #}Say how many stars {%- raw %} {{these}} {% endraw -%} get, from 1 to 5: {{ text }}", None, "chat",
         "template", "Say how many stars {{these}} get, from 1 to 5: [[text]]", None),
    ],
)  # fmt: skip
def test_instructions_are_found_and_replaced_and_the_row_stays(
    template: str, system: str | None, style: Any, place: str, shown: str, turns: list[str | None] | None, task: lt.Task
) -> None:
    spec = prompt(template, task, system=system, style=style)
    found = instructions_of(spec)
    assert (found.place, found.text) == (place, shown)
    made = found.replaced(NEW)
    assert isinstance(made, Prompt)
    assert made.columns == spec.columns
    assert turns is None or filled(made) == turns
    assert made.model_copy(update={"prompt": spec.prompt}) == spec


def test_marks_are_put_back_as_the_code_they_stand_for(task: lt.Task) -> None:
    spec = prompt("How many stars from 1 to 5 does {{ title | upper }} get? {{ text }} Just the number.", task)
    found = instructions_of(spec)
    made = found.replaced("Of {{ title }}, [[title]], is said: {[[text]]} Stars?")
    assert isinstance(made, Prompt)
    assert filled(made)[1] == "Of {{ title }}, DULL, is said: {Cold soup {{ 1 }}} Stars?"


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "empty"),
        (" \n\x00\t ", "empty"),
        ("About [[title]] from 1 to 5 stars.", "part"),
        ("[[title]] [[text]] [[text]]", "exactly once"),
        ("[[text]] [[title]]", "order"),
    ],
)
def test_what_makes_no_prompt_says_why(written: str, why: str, task: lt.Task) -> None:
    spec = prompt("How many stars from 1 to 5 does {{ title }} get? {{ text }} Just the number.", task)
    made = instructions_of(spec).replaced(written)
    assert isinstance(made, NoPrompt)
    assert why in made.why


CODE = ["{{ 7*7 }}", "{% for %}", "{# no #}", "{%- endraw -%}", "{% raw %}", "{{{", "{", "}}", "{{ text }}", "[[text]]"]
CODE += [
    '{{ "{" }}',
    "{{ cycler.__init__.__globals__ }}",
    "{% include 'x' %}",
    "# for x",
    "{\n{",
    "{{ '",
    "%}",
    "#}",
    "\\{",
]


@pytest.mark.parametrize("written", CODE)
def test_written_code_of_a_template_is_sent_as_it_is_written(written: str, task: lt.Task, tmp_path: Path) -> None:
    spec = prompt("{{ text }}", task, system="Which of 1, 2, 3, 4, 5 fits?")
    made = instructions_of(spec).replaced(f"Stars {written} from 1 to 5 {written}")
    assert isinstance(made, Prompt)
    assert filled(made) == [f"Stars {written} from 1 to 5 {written}", "Cold soup {{ 1 }}"]
    assert made.columns == ("text",)
    # The spec goes through a file unchanged.
    file = tmp_path / "made.yaml"
    file.write_text(yaml.safe_dump(made.document(), allow_unicode=True), encoding="utf-8")
    assert read_spec(file) == made


def test_any_text_is_data_in_a_template() -> None:
    drawn = random.Random(7)
    pieces = [*CODE, " ", "\n", "word", "é", "语", '"', "'", "\\", "|", "-%}", "{%-"]
    for _ in range(500):
        text = plain_text("".join(drawn.choices(pieces, k=drawn.randint(1, 12))))
        assert compiled(as_template(text)).fill({}, (), ()) == text


def test_both_turns_are_shown_with_marks(task: lt.Task) -> None:
    spec = prompt("{{ text }}", task, system="Which of {{ labels | join('/') }}?")
    assert shown_text(spec) == "Which of 1/2/3/4/5?\n\n[[text]]"

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from luthier.evaluation.cohorts import CohortSearch
from luthier.evaluation.resampling import Interval
from luthier.evaluation.scorecard import Scorecard
from luthier.reporting.html import fragment, page_text, write_page
from luthier.reporting.scorecard_report import scorecard_page, scorecard_sections
from luthier.reporting.scorecard_sentences import verdict
from luthier.reporting.table import Section
from luthier.reporting.terminal import show
from luthier.tasks.task import Task
from tests.evaluation.cards import bare_card, cohort, full_card, perturbation, sensitive
from tests.reporting.test_board_report import HOSTILE, MARK, tags


def printed(card: Scorecard, width: int) -> str:
    written = io.StringIO()
    show(*scorecard_sections(card), console=Console(file=written, width=width))
    return written.getvalue()


def titles(card: Scorecard) -> list[str]:
    return [section.title for section in scorecard_page(card).sections]


def hostile_card() -> Scorecard:
    """A card where every string that can come from outside attacks the page."""
    attacks = [*HOSTILE, f'<img src=x onerror="{MARK}">']
    task = Task("stars", labels=[attacks[0], attacks[1], "plain"])
    card = full_card(
        task=task,
        cohorts=CohortSearch(tuple(map(cohort, attacks)), "error rate", 9, 9, tuple(attacks), 9, tuple(attacks)),
        sensitive=tuple(sensitive(one, groups=(attacks[0], attacks[2], attacks[1])) for one in attacks),
        perturbations=tuple(perturbation(one, told=True, example="".join(attacks)) for one in attacks),
        limits=tuple(attacks),
    )
    names: dict[str, Any] = {"uri": attacks[3], "name": attacks[0], "version": attacks[1], "base_model": attacks[2]}
    model = replace(card.model, **names, prompt="".join(attacks), purpose=attacks[4])
    data = replace(card.data, name=attacks[5], digest=attacks[6], labels=dict.fromkeys(task.labels, 100))
    gates = tuple(replace(gate, requirement=attacks[1]) for gate in card.gates)
    return replace(card, model=model, data=data, gates=gates)


@pytest.mark.slow
def test_the_page_of_hostile_texts_draws_every_figure_and_runs_nothing(chromium: Any, tmp_path: Path) -> None:
    page = scorecard_page(hostile_card())
    file = write_page(page, tmp_path / "page.html")
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", file.read_text("utf-8"))
    file.write_text(bare, "utf-8")
    opened = chromium(file)
    assert 'data-drawn="yes"' in opened.document
    assert "data-pwned" not in opened.document.split(">", 2)[1]
    drawn = opened.document.count('class="lu-chart') + opened.document.count('class="lu-confusion')
    assert drawn == len(list(page.figures())) >= 2
    assert not opened.console


def test_strangers_texts_bring_no_tag_and_no_attribute() -> None:
    for html in (page_text(scorecard_page(hostile_card())), fragment(*scorecard_sections(hostile_card()))):
        found = tags(html)
        assert not {tag for tag, _ in found} & {"img", "iframe", "base", "link", "object", "form", "embed"}
        assert not any(name.startswith("on") or name == "src" for _, attributes in found for name in attributes)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_shows_every_part_within_its_width(width: int) -> None:
    text = printed(full_card(), width)
    for words in ("accuracy", "sentences > 12", "north", "injection", "qwk >= 0.99", "Known limits"):
        assert words in text
    assert max(map(len, text.splitlines())) <= width


def test_hostile_names_move_no_cursor() -> None:
    text = printed(hostile_card(), 100)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text)


def test_the_verdict_says_how_good_where_worst_for_whom_and_when_not_to_trust() -> None:
    said = "\n".join(verdict(full_card()))
    for words in (
        "Right on",
        "the model is better",
        "Worst where sentences > 12: 57%",
        "By region, accuracy differs: best for “north” (.75), worst for “south” (.55); they are .20 (.11–.29) apart.",
        "if only rows with a confidence of at least",
        "“typos” changes the most labels: 6.0%",
        "An instruction hidden in the text is followed in 12%",
        "reported accuracy .99, better than the .50",
        "Misses 1 of 2 requirements: qwk >= 0.99 (0.7)",
    ):
        assert words in said


def test_what_is_not_confirmed_is_not_claimed() -> None:
    search = CohortSearch((cohort(confirmed=False),), "error rate", 300, 9, ("sentences",), 20)
    card = full_card(cohorts=search, sensitive=(sensitive(confirmed=False),), above_baseline=False)
    said = "\n".join(verdict(card))
    assert "not shown to be better" in said
    assert "No group of rows is confirmed to be worse" in said
    assert "No difference between groups of region is confirmed" in said
    assert "Worst where" not in said


def test_there_is_no_section_for_what_is_not_there_and_a_line_says_how_to_ask() -> None:
    card = bare_card()
    assert titles(card) == ["Model and rows", "Metrics", "Mistakes", "When to ask a person", "Known limits", "Glossary"]
    html = page_text(scorecard_page(card))
    assert "--sensitive COLUMN" in html
    assert "--perturb N" in html
    assert "--sensitive" not in page_text(scorecard_page(full_card()))


def test_a_table_without_labels_has_the_answers_and_how_sure_they_are() -> None:
    card = bare_card()
    data = replace(card.data, labelled=0, labels={})
    card = bare_card(data=data, metrics={}, baseline={}, plots=type(card.plots)(), abstention=None)
    assert titles(card) == ["Model and rows", "Answers", "Known limits", "Glossary"]
    text = printed(card, 100)
    assert "no labels, so nothing says how good the answers are" in text
    assert "Most frequent answers among 300 rows" in text
    assert "90–100%" in text
    assert "--sensitive" not in text


def test_of_77_labels_the_most_frequent_are_listed_and_the_others_folded() -> None:
    task = Task("intent", labels=[f"intent {place}" for place in range(77)])
    html = page_text(scorecard_page(bare_card(2_000, task=task)))
    assert "67 more labels" in html
    assert "intent 0, intent 1" in html
    assert len(html) < 6_000_000


def test_sections_of_others_stand_before_the_limits() -> None:
    page = scorecard_page(full_card(), [Section("Explained rows", ("One.",))])
    named = [section.title for section in page.sections]
    assert named.index("Robustness") < named.index("Explained rows") < named.index("Known limits")


def test_of_a_column_with_10_000_groups_the_largest_are_shown_and_the_others_counted() -> None:
    card = full_card(sensitive=(sensitive(groups=tuple(f"customer {place}" for place in range(10_000))),))
    html = page_text(scorecard_page(card))
    assert "9,988 smaller groups" in html
    assert "The largest 200 of 10,000 groups." in html
    assert html.count("customer ") < 300
    assert len(printed(card, 80).splitlines()) < 120


def test_cohorts_of_a_rating_are_judged_by_their_distance_from_the_truth() -> None:
    one = replace(cohort(), value=Interval(1.5, 1.2, 1.8), rest=Interval(0.4))
    said = verdict(full_card(cohorts=CohortSearch((one,), "mean distance", 300, 9, ("sentences",), 20)))
    assert (
        "Worst where sentences > 12: answers are 1.50 (1.20–1.80) from the truth on average, against 0.40 elsewhere."
        in said
    )

"""The page of a score and the lines it prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from luthier.evaluation.population_stability import LabelMix, population_stability
from luthier.evaluation.resampling import plain, record_of
from luthier.evaluation.score_summary import (
    ErrorCount,
    Expected,
    LatencySummary,
    LimiterChange,
    RowExample,
    ScoreSummary,
    SlowRow,
    Throughput,
)
from luthier.reporting.figure_files import figure_files
from luthier.reporting.html import page_text
from luthier.reporting.score_report import score_page
from luthier.reporting.score_sentences import score_lines, score_sentences
from luthier.reporting.table import Page


def scored(labels: Mapping[str, int], word: str = "plain", **change: object) -> ScoreSummary:
    """A score with something of everything; `word` is in each text that a stranger writes."""
    names, rows = tuple(labels), sum(labels.values())
    mix = LabelMix("training rows", dict.fromkeys(names, 1 / len(names)), 1000)
    whole = ScoreSummary(
        source=f"{word}.csv",
        target="out.csv",
        task="stars",
        spec=word,
        model="models:/stars@champion",
        rows=rows + 30,
        states={"ok": rows, "failed": 20, "refused": 5, "off_label": 4, "empty": 1},
        labels=labels,
        stability=population_stability(mix, labels, names),
        input_tokens=40_000,
        output_tokens=rows,
        cached_input_tokens=1_024,
        cost_usd=0.5,
        spent_usd=0.4,
        from_journal=50,
        transient=20,
        elapsed_seconds=61.0,
        expected=Expected(900, 1_000, 45_000, 90_000, 2_000, 0.45, 1.2, 55.0),
        fetched=rows,
        retries=12,
        rate_limited=7,
        latency=LatencySummary((0.1, 0.2, 0.4, 0.8), (10, 500, 40), 0.25, 0.5, 0.7, 0.79),
        throughput=Throughput("answers", 2.0, (5, 40, 38, 0, 41), 9.1),
        limiter=(
            LimiterChange(f"openai/{word}", 0.0, "growth", 32, None),
            LimiterChange(f"openai/{word}", 4.0, "429", 24, 1_200.0),
            LimiterChange(f"azure/{word}", 5.0, "600 requests a minute, from headers", 16, 600.0),
        ),
        answered_by={f"openai/{word}": 400, f"azure/{word}": 150},
        models={word: 540, "another": 10},
        errors=(ErrorCount("failed", f"status 500: {word}", 20, 3), ErrorCount("off_label", word, 4, 9)),
        examples=(RowExample(3, "failed", word, word, word),),
        slowest=(SlowRow(7, 0.79, "ok", 30, 1, word),),
        renamed={"label": word},
        input_digest="ab" * 32,
        output_digest="cd" * 32,
    )
    return replace(whole, **change)  # type: ignore[arg-type]


def titles(page: Page) -> set[str]:
    return {section.title for section in page.sections}


def test_a_summary_is_read_back_as_it_was_written() -> None:
    summary = scored({"good": 400, "bad": 150})
    document = json.loads(json.dumps(plain(summary), allow_nan=False))
    assert record_of(ScoreSummary, document) == summary


def test_the_page_has_everything_that_a_score_can_say() -> None:
    assert titles(score_page(scored({"good": 400, "bad": 150}))) == {
        "Rows",
        "Labels now and before",
        "Expected and actual",
        "Speed",
        "Models that answered",
        "Rows without a label",
        "Slowest rows",
        "Tables",
        "Glossary",
    }


def test_a_model_that_asks_no_service_has_a_page_without_costs_and_limits() -> None:
    page = score_page(
        ScoreSummary(rows=3, states={"ok": 3}, labels={"good": 3, "bad": 0}, throughput=Throughput("rows", 1, (3,), 1))
    )
    assert titles(page) == {"Rows", "Labels", "Speed", "Tables", "Glossary"}


def test_a_score_that_answered_nothing_has_a_page() -> None:
    summary = ScoreSummary(ending="interrupted", reason="stopped by a signal", source="in.csv")
    page = score_page(summary)
    assert "was interrupted" in page.said[0]
    assert "stopped by a signal" in page_text(page)
    assert "wrote no table" in score_lines(summary)[0]


def test_a_shift_of_the_labels_is_said_with_the_labels_that_moved() -> None:
    moved = scored({"good": 9_000, "bad": 1_000})
    steady = scored({"good": 5_050, "bad": 4_950})
    few = scored({"good": 4, "bad": 1})
    for said in (score_lines, score_sentences):
        assert any("a large shift" in line and "good from 50.0% to 90.0%" in line for line in said(moved))
        assert any("no shift (below 0.1)" in line for line in said(steady))
        assert any("no shift that 5 rows can show" in line for line in said(few))


def test_the_estimate_stands_beside_what_was_spent() -> None:
    (said,) = [line for line in score_sentences(scored({"good": 400, "bad": 150})) if "the plan expected" in line]
    assert "$0.45" in said
    assert "(-11%)" in said


def test_an_unknown_price_is_not_written_as_nothing() -> None:
    unknown = scored({"good": 400, "bad": 150}, cost_usd=None, spent_usd=None)
    assert any(line.startswith("cost        unknown") for line in score_lines(unknown))
    assert any("unknown: give the endpoint a price" in line for line in score_sentences(unknown))


@pytest.mark.parametrize("count", [2, 77])
def test_every_figure_is_a_file_of_its_own(count: int) -> None:
    page = score_page(scored({f"<label> {n} of a bank, whose name goes on and on": 5 + n for n in range(count)}))
    files = dict(figure_files(page))
    assert set(files) == {
        "labels-now-and-before.svg",
        "speed.svg",
        "speed-what-the-limiter-allowed.svg",
        "speed-latency.svg",
    }
    for text in files.values():
        ElementTree.fromstring(text)
    assert len(page_text(page)) < 250_000


def test_words_of_strangers_are_text_on_the_page() -> None:
    text = page_text(score_page(scored({"<b>good</b>": 400, "bad": 150}, word='<img src=x onerror="alert(1)">')))
    assert "<img src=x" not in text
    assert "<b>good" not in text

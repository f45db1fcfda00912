"""What a sweep says: sentences, the table of trials, jobs and bills, the page."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from luthier.evaluation.resampling import Interval
from luthier.reporting.charts.chart import Chart, Dots
from luthier.reporting.html import fragment, page_text, write_page
from luthier.reporting.table import Fold, Table
from luthier.reporting.terminal import text_of
from luthier.sweeps.study_state import FinalistFigures, StudyState, WinnerFigures
from luthier.sweeps.sweep_report import best_trial_sections, status_sections, sweep_page, sweep_sections
from tests.browser import browser_page
from tests.sweeps.studies import COST, F1, complete, facts, failed, many, real_trials, running, state, stopped

WINNER = WinnerFigures(
    number=1,
    metric="weighted_f1",
    finalists=(
        FinalistFigures(1, Interval(0.583, 0.54, 0.62), Interval(0.561, 0.5, 0.6)),
        FinalistFigures(0, Interval(0.58, 0.54, 0.62), Interval(0.55, 0.49, 0.6)),
    ),
    selection_rows=300,
    holdout_rows=200,
)
TRIALS = [complete(0, 0.58), complete(1, 0.583), stopped(2), stopped(3), failed(4), running(5)]


DRAWN = """
[...document.querySelectorAll('figure')].filter((one) =>
  [...one.querySelectorAll('svg.lu-plot :is(circle, path, rect, .lu-interval)')].some(
    (mark) => mark.getBoundingClientRect().width > 0)
).length
"""
"""Figures with a mark that a reader sees."""


def said(found: StudyState) -> str:
    """The report's text on one line."""
    return " ".join(text_of(*sweep_sections(found)).split())


def test_the_winner_is_said_with_both_figures_the_shrinkage_and_those_it_cannot_be_told_from() -> None:
    text = said(state(TRIALS, winner=WINNER))
    assert "Trial 1 is the winner: weighted F1 .561 (.500–.600) on 200 holdout rows" in text
    assert ".583 (.540–.620) on the 300 selection rows. The shrinkage is +.022." in text
    assert "cannot be told from trial 0" in text
    assert "Best so far" not in text


def test_finalists_and_jobs_have_room_in_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = text_of(*sweep_sections(state(TRIALS, winner=WINNER)))
    assert "learning_rate_multiplier 0.065" in text, "settings stand beneath the trial, words in one piece"
    job = "ftjob-ea71c0b4e349c3cd6c6ca45c"
    waiting = running(5, job=job, job_status="validating_files", trained_tokens=202_730, cost_usd=0.0)
    assert job in text_of(*status_sections(state([waiting])))


def test_a_cheaper_finalist_is_named() -> None:
    cheap = complete(0, 0.58)
    cheap = replace(cheap, measured={**cheap.measured, "cost_per_1000_rows_usd": 0.02})
    assert "trial 0 is cheaper to ask, $0.02 a thousand rows instead of $0.05" in said(
        state([cheap, complete(1, 0.583)], winner=WINNER)
    )


def test_before_there_is_a_winner_the_best_is_said_to_overstate() -> None:
    text = said(state(TRIALS))
    assert "Best so far: trial 1, weighted F1 .583 (.543–.623) on the selection rows" in text
    assert "It is the best of 2 on the rows they were chosen by, so the figure overstates." in text


def test_money_is_what_was_spent_reserved_and_saved() -> None:
    text = said(state(TRIALS, reserved_usd=0.9))
    assert "Spent: $7.50 of the budget of $25.00; $0.90 more is reserved." in text
    # 2 x 80,000 were trained in full, 2 x 20,000 of the stopped, and 2 x 60,000 were not.
    assert "ended 2 trials and saved 120,000 trained tokens, 38% of what would have been trained, and $1.20" in text


def test_a_cost_that_nobody_knows_is_said_and_not_counted_as_nothing() -> None:
    text = said(state([complete(0, 0.5, cost_usd=None)]))
    assert "The cost of 1 trial is not known and not in this sum." in text
    kept = said(state([complete(0, 0.5, cost_usd=None, reserved_usd=0.9)]))
    assert "not in this sum; what was reserved for it stays set aside." in kept


def test_savings_that_follow_from_the_last_step_are_said_to_be_estimates() -> None:
    assert "saved about 60,000 trained tokens" in said(state([complete(0, 0.5), stopped(1, tokens_estimated=True)]))


def test_failed_trials_are_listed_by_their_reason() -> None:
    text = said(state([failed(0), failed(1), failed(2, reason="out of quota")]))
    assert "Trials 0 and 1 failed: the service refused batch_size 16: at most 8 for this model." in text
    assert "Trial 2 failed: out of quota." in text


def test_what_to_type_next_fits_what_there_is() -> None:
    assert "luthier sweep stop stars-sweep" in said(state([running(0)]))
    assert "luthier sweep resume stars-sweep" in said(state([replace(running(0), status="interrupted")]))
    assert "luthier sweep best stars-sweep --log" in said(state([complete(0, 0.5)]))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_terminal_shows_several_metrics_of_a_trial_and_is_never_too_narrow(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = text_of(*sweep_sections(state(TRIALS)))
    assert max(map(len, text.splitlines())) <= width
    line = next(line for line in text.splitlines() if re.match(r"1 +2 +8 ", line))
    assert ".583" in line
    if width > 100:
        assert {".603", ".683"} <= set(line.split())


def test_many_settings_share_a_column_in_a_terminal() -> None:
    wide = [replace(complete(0, 0.5), settings={f"prompt.s{place}": place for place in range(12)})]
    assert "s0 0, s1 1, s2 2" in said(StudyState(facts(space={}), tuple(wide)))


def test_the_status_shows_every_job_with_its_state_and_bill_the_living_first() -> None:
    text = text_of(*status_sections(state(TRIALS, storage="sqlite:///sweeps.db")))
    jobs = [line.split()[:3] for line in text.splitlines() if "ftjob-" in line]
    assert jobs[0] == ["5", "ftjob-0005", "running"]
    assert ["2", "ftjob-0002", "cancelled"] in jobs
    assert len(jobs) == 5
    assert "study in sqlite:///sweeps.db" in text


def test_the_best_trial_is_shown_with_its_settings_by_path_and_its_figures() -> None:
    best = complete(1, 0.583)
    text = text_of(*best_trial_sections(state([complete(0, 0.5), best]), best))
    assert re.search(r"tuning\.epochs +2", text)
    assert re.search(r"QWK +\.683", text)


def test_a_front_is_said_where_there_are_several_objectives() -> None:
    trials = [
        complete(0, 0.5, values=(0.5, 0.2)),
        complete(1, 0.6, values=(0.6, 0.9)),
        complete(2, 0.4, values=(0.4, 1.0)),
    ]
    text = said(StudyState(facts(objectives=[F1, COST]), tuple(trials)))
    assert "The front of weighted F1 and cost of the trial has 2 trials" in text
    assert "On it are trials 1 and 0." in text
    won = said(StudyState(facts(objectives=[F1, COST]), tuple(trials), winner=WINNER))
    assert "Trial 1 is the winner" in won
    assert "The front of" in won


@pytest.mark.parametrize("count", [0, 1, 5, 500])
def test_a_page_works_with_any_number_of_trials(count: int) -> None:
    page = page_text(sweep_page(state(many(count))))
    assert "NaN" not in re.sub("<script.*?</script>", "", page, flags=re.DOTALL)
    assert page.count('class="luthier-name"><bdi>') >= min(count, 250)
    assert len(page.encode()) < 700_000


def test_names_and_reasons_of_strangers_stay_text() -> None:
    evil = "<script>alert(1)</script>\x1b[31m"
    trial = stopped(0, reason=evil, owner=evil, job=evil, job_status=evil, settings={f"prompt.{evil}": evil})
    found = StudyState(facts(name=evil, space={}), (trial, complete(1, 0.5, settings={"prompt.x": evil})))
    for html in (page_text(sweep_page(found)), fragment(*sweep_sections(found, wide=True))):
        assert "<script>alert" not in html
    assert "\x1b[31m" not in text_of(*status_sections(found))


def test_the_real_trials_make_a_report() -> None:
    text = said(StudyState(facts(trials=175, space={}), tuple(real_trials())))
    assert "weighted F1 .604 on the selection rows, with model babbage, epochs 10, batch_size 4" in text
    assert "The best 20 of 175 complete trials." in text


def test_a_sweep_without_jobs_shows_its_trials_in_the_status() -> None:
    text = text_of(*status_sections(state([running(0, job=None, job_status=None)])))
    assert re.search(r"0 +1 +4 .* running", text)


def test_the_glossary_explains_only_what_is_on_the_page() -> None:
    def terms(found: StudyState) -> set[object]:
        (table,) = sweep_page(found).sections[-1].blocks
        assert isinstance(table, Table)
        return {row.cells[0] for row in table.rows}

    assert terms(state([complete(0, 0.5, cost_usd=None)])) == {"Selection rows", "Settings"}
    assert {"Holdout rows", "Shrinkage", "Stopped early", "Cost"} <= terms(state(TRIALS, winner=WINNER))


def test_the_page_draws_a_point_per_trial_for_each_setting_and_says_where_results_lie() -> None:
    found = state(many(60))
    page = sweep_page(found)
    titles = [section.title for section in page.sections]
    assert {
        "Progress",
        "How results are distributed",
        "Each setting against the result",
        "All settings together",
    } <= set(titles)
    _, charts = page.sections[titles.index("Each setting against the result")].blocks
    assert isinstance(charts, tuple)
    assert len(charts) == 4
    for chart in charts:
        assert isinstance(chart, Chart)
        assert sum(len(mark.x) for mark in chart.marks if isinstance(mark, Dots)) == len(found.complete)


@pytest.mark.slow
def test_a_browser_shows_the_page_on_a_telephone_with_a_clean_console(tmp_path: Path) -> None:
    trials = [*many(60), *(replace(one, number=one.number + 100) for one in real_trials()[:40])]
    file = write_page(sweep_page(state(trials)), tmp_path / "sweep.html")

    async def look() -> tuple[int, int, int, list[str], list[str]]:
        async with browser_page(tmp_path) as browser:
            await browser.open(file.as_uri(), width=390, dark=True)
            drawn = await browser.value(DRAWN)
            wide = await browser.value("document.documentElement.scrollWidth")
            figures = await browser.value("document.querySelectorAll('figure').length")
            return figures, drawn, wide, browser.console, browser.asked

    figures, drawn, wide, console, asked = asyncio.run(look())
    assert figures == drawn >= 9
    assert wide == 390
    assert (console, asked) == ([], [])


def test_a_long_table_of_trials_is_folded_and_a_short_one_is_not() -> None:
    def blocks(count: int) -> tuple[object, ...]:
        sections = sweep_page(state([complete(number, 0.5) for number in range(count)])).sections
        return next(section.blocks for section in sections if section.title == "Complete trials")

    assert isinstance(blocks(5)[-1], Table)
    assert isinstance(blocks(50)[-1], Fold)

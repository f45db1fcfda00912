"""Figures of a sweep: what is drawn, with one trial and with hundreds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from luthier.reporting.html import write_page
from luthier.sweeps.study_state import StudyState
from luthier.sweeps.sweep_plots import parallel_figure, setting_figures
from luthier.sweeps.sweep_report import sweep_page
from tests.browser import browser_page
from tests.sweeps.studies import complete, facts, many, real_trials, state


def test_a_choice_is_drawn_as_boxes_by_size_and_a_number_as_dots() -> None:
    figures = dict(setting_figures(state(many(60))))
    assert [box.name for box in figures["batch_size"].data] == ["4", "8", "16"]
    assert figures["learning_rate_multiplier"].data[0].type == "scatter"


def test_a_setting_searched_by_its_logarithm_has_a_logarithmic_axis() -> None:
    figures = dict(setting_figures(state(many(20))))
    assert figures["learning_rate_multiplier"].layout.xaxis.type == "log"
    assert figures["epochs"].layout.xaxis.type is None


def test_templates_that_begin_alike_are_told_apart() -> None:
    long = "Rate the review of a restaurant from one to five stars, "
    trials = [complete(n, 0.4 + n / 100, settings={"prompt.template": f"{long}{n % 2}"}) for n in range(20)]
    ((_, figure),) = setting_figures(StudyState(facts(space={}), tuple(trials)))
    names = [box.name.replace("<br>", " ") for box in figure.data]
    assert len(set(names)) == 2
    assert [len(box.y) for box in figure.data] == [10, 10]


def test_parallel_lines_lie_where_the_values_of_a_trial_are() -> None:
    trials = [complete(n, n / 10, settings={"a.x": n, "a.kind": "b" if n % 2 else "c"}) for n in range(1, 9)]
    figure = parallel_figure(StudyState(facts(space={}), tuple(trials)))
    assert figure is not None
    best = figure.data[-1]
    assert [round(y, 6) for y in best.y[:3:2]] == [1.0, 1.0]
    assert abs(best.y[1] - 1.0) < 0.1
    assert sum(len(one.x) // 4 for one in figure.data) == 8 + 1


def test_a_setting_that_a_trial_lacks_leaves_a_gap() -> None:
    trials = [complete(n, n / 10, settings={"a.x": n, **({"a.y": n} if n % 2 else {})}) for n in range(1, 9)]
    figure = parallel_figure(StudyState(facts(space={}), tuple(trials)))
    assert figure is not None
    assert any(y is None for one in figure.data for x, y in zip(one.x, one.y, strict=True) if x is not None)


@pytest.mark.parametrize("count", [1, 5, 500])
def test_every_figure_works_with_few_and_many_trials(count: int) -> None:
    found = state(many(count))
    for make in (parallel_figure,):
        figure = make(found)
        assert figure is None or figure.to_json(validate=False)
    assert len(setting_figures(found)) == (0 if count == 1 else 4)


def test_markup_in_a_setting_is_text_in_a_figure() -> None:
    trials = [complete(n, 0.4 + n / 100, settings={"prompt.t": f"<a href='x'>{n % 2}</a>"}) for n in range(12)]
    ((_, figure),) = setting_figures(StudyState(facts(space={}), tuple(trials)))
    assert "<a" not in figure.to_json()


@pytest.mark.slow
def test_a_browser_draws_every_figure_of_the_page_and_asks_no_network(tmp_path: Path) -> None:
    trials = [*many(60), *(replace(one, number=one.number + 100) for one in real_trials()[:40])]
    page = write_page(sweep_page(state(trials)), tmp_path / "sweep.html")

    async def look() -> tuple[int, int, int, int, list[str], list[str]]:
        async with browser_page(tmp_path) as browser:
            await browser.open(page.as_uri(), width=390, dark=True)
            await browser.until("document.documentElement.dataset.drawn === 'yes'")
            figures = await browser.value("document.querySelectorAll('.figure').length")
            marks = ".scatterlayer .trace path, .boxlayer path"
            drawn = await browser.value(
                f"[...document.querySelectorAll('.figure')].filter((one) => one.querySelector('{marks}')).length"
            )
            wide = await browser.value("document.documentElement.scrollWidth")
            rows = await browser.value("document.querySelectorAll('tbody tr').length")
            return figures, drawn, wide, rows, browser.console, browser.asked

    figures, drawn, wide, rows, console, asked = asyncio.run(look())
    assert figures == drawn == 6
    assert wide == 390
    assert rows >= 100
    assert (console, asked) == ([], [])

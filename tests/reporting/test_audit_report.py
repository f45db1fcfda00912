from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from luthier.evaluation.agreement import PairedValues
from luthier.evaluation.audits import Audit, audit_of_attributions, audit_of_pairs
from luthier.evaluation.decomposition import Condition, Reported, decompose
from luthier.reporting.audit_figures import difference_strips, identity_chart, level_chart
from luthier.reporting.audit_report import audit_page, audit_sections, parts_table
from luthier.reporting.audit_sentences import audit_sentences, figure
from luthier.reporting.charts.chart import Dots, Rule
from luthier.reporting.html import fragment, page_text, write_page
from luthier.reporting.numbers import metric_title
from luthier.reporting.table import Bar
from luthier.reporting.terminal import show
from luthier.tasks.prediction import CallRecord, Prediction
from luthier.tasks.task import Rows, Task
from tests.reporting.test_board_report import HOSTILE, tags


def made(offset: float = 0.05, noise: float = 0.03, count: int = 25, name: str = "model") -> Audit:
    generator = np.random.default_rng(2)
    measured = generator.uniform(0.3, 0.6, count)
    values = [
        PairedValues(
            metric,
            tuple(f"{name} {i}" for i in range(count)),
            tuple(float(v) for v in measured + offset + generator.normal(0, noise, count)),
            tuple(float(v) for v in measured),
        )
        for metric in ("accuracy", "weighted_f1")
    ]
    return audit_of_pairs(name, values)


def job(name: str = "job", text: str = "text") -> Audit:
    task = Task("stars", type="rating", label="stars", labels=[1, 2])
    rows = Rows(tuple({"text": f"{text} {i}"} for i in range(40)), ("1", "2") * 20, "text")
    right = tuple(Prediction(label, "ok", call=CallRecord(text)) for label in rows.labels)
    worse = (*(Prediction(None, "off_label", call=CallRecord(text)) for _ in range(10)), *right[10:])
    chain = [Condition(name, "definition", rows, right), Condition(name, "labels", rows, worse)]
    return audit_of_attributions(name, [decompose(name, task, Reported({"accuracy": 1.0}, 40, text), chain)])


def printed(audit: Audit, width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    show(*audit_sections(audit), console=Console(file=out, width=width))
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("audit", [made(), job()], ids=["pairs", "job"])
def test_every_line_fits_and_no_number_is_cut(audit: Audit, width: int) -> None:
    text = printed(audit, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for one in audit.agreements:
        assert f"  {figure(one.choice.lost)}" in next(
            line for line in text.splitlines() if line.startswith(metric_title(one.metric))
        )
    assert printed(audit, width, "ascii").isascii()


def test_the_most_telling_metric_comes_first() -> None:
    assert audit_sentences(made())[0].startswith("weighted F1: over 25 models the service reported .0")


def test_what_cannot_be_told_from_chance_is_said_to_be_so() -> None:
    assert "do not differ" in audit_sentences(made(0.0))[0]


def test_few_models_cannot_convince_the_sign_flips_and_it_says_so() -> None:
    assert "4 models this p cannot fall below .125" in audit_sentences(made(0.1, 0.001, 4))[0]


def test_an_order_of_four_models_is_said_to_be_too_little_to_go_by() -> None:
    assert "4 models are too few to say" in " ".join(audit_sentences(made(0.1, 0.001, 4)))
    assert "too few to say" not in " ".join(audit_sentences(made()))


def test_a_part_beyond_chance_is_named_with_its_interval() -> None:
    said = " ".join(audit_sentences(job()))
    assert "reported 1.000, measured .750" in said
    assert "answers that are no label +.250" in said
    assert "10 of 40 rows got no label" in said


def test_a_metric_whose_parts_stand_out_is_told_beside_one_whose_parts_do_not() -> None:
    task = Task("stars", type="rating", label="stars", labels=[1, 2])
    rows = Rows(tuple({"text": f"text {i}"} for i in range(40)), ("1", "2") * 20, "text")
    right = tuple(Prediction(label, "ok", call=CallRecord("x")) for label in rows.labels)
    reported = Reported({"weighted_f1": 1.0, "accuracy": 0.5}, 40)
    said = " ".join(
        audit_sentences(
            audit_of_attributions(
                "job", [decompose("job", task, reported, [Condition("job", "definition", rows, right)])]
            )
        )
    )
    assert "No single part" in said
    assert "accuracy: reported .500, measured 1.000" in said and "own definition -.500" in said


@pytest.mark.slow
def test_figures_show_the_audits_numbers() -> None:
    audit = made()
    one = audit.agreements[0]
    [dots] = [mark for mark in identity_chart(one).marks if isinstance(mark, Dots)]
    assert dots.x == one.pairs.reported and dots.y == one.pairs.measured
    below = sum(one.pairs.differences > 0)
    assert f"{below} lie below the line: reported is higher" in identity_chart(one).said
    rules = [mark.value for mark in level_chart(one).marks if isinstance(mark, Rule)]
    assert {one.lower_limit.value, one.upper_limit.value, one.difference.value} <= set(rules)
    assert difference_strips(audit.agreements).strips[0].values == pytest.approx(one.pairs.differences.tolist())
    bars = [row.cells[2] for row in parts_table(job().attributions[0]).rows]
    assert [bar.interval.value for bar in bars if isinstance(bar, Bar)] == pytest.approx([0.0, 0.25, 0.25])


@pytest.mark.parametrize("make", [made, job])
def test_strangers_names_and_texts_bring_no_tag_and_no_attribute(make: Any) -> None:
    attack = "".join(HOSTILE)
    audit = make(name=attack) if make is made else make(attack, attack)
    for html in (page_text(audit_page(audit)), fragment(*audit_sections(audit))):
        found = tags(html)
        assert not {tag for tag, _ in found} & {"img", "iframe", "base", "link", "object", "form", "embed"}
        for _, attributes in found:
            assert not any(name.startswith("on") or name == "src" for name in attributes)
            assert (attributes.get("href") or "#").startswith("#")
    assert "\x1b" not in printed(audit, 100)


@pytest.mark.slow
@pytest.mark.parametrize("audit", [made(name=HOSTILE[0]), job(HOSTILE[1], HOSTILE[2])], ids=["pairs", "job"])
def test_the_page_opens_from_disk_draws_every_figure_and_runs_nothing(
    audit: Audit, chromium: Any, tmp_path: Path
) -> None:
    page = audit_page(audit)
    opened = chromium(write_page(page, tmp_path / "audit.html"))
    assert 'data-drawn="yes"' in opened.document
    assert "data-pwned" not in opened.document.split(">", 2)[1]
    assert opened.document.count('class="lu-chart') == len(list(page.figures()))
    assert not opened.console

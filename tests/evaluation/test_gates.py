"""What a requirement reads, and how it comes out."""

from __future__ import annotations

import math

import pytest

from luthier.errors import UserError
from luthier.evaluation.gates import judge, parse_requirement
from luthier.evaluation.resampling import Interval

FIGURES = {
    "accuracy": Interval(0.85, 0.78, 0.90),
    "mae": Interval(0.4),
    "log_loss": Interval(math.nan),
    "flip_rate_typos": Interval(0.04, 0.01, 0.10),
    "flip_rate_typos_rows": Interval(100.0),
}


@pytest.mark.parametrize(
    ("requirement", "passed"),
    [
        ("accuracy >= 0.85", True),
        ("accuracy > 0.85", False),
        ("accuracy>=.8", True),
        (" accuracy  <=  8.5e-1 ", True),
        ("accuracy_low >= 0.8", False),
        ("accuracy_high < 0.91", True),
        ("mae <= 0.5", True),
    ],
)
def test_a_figure_or_a_bound_of_its_interval_is_held_against_a_number(requirement: str, passed: bool) -> None:
    assert judge(parse_requirement(requirement), FIGURES, 300).passed is passed


@pytest.mark.parametrize("requirement", ["kappa >= -1", "mae_high < 9", "log_loss < 99", "flip_rate_case <= 1"])
def test_a_figure_that_was_not_measured_passes_nothing(requirement: str) -> None:
    gate = judge(parse_requirement(requirement), FIGURES, 300)
    assert (gate.passed, gate.measured) == (False, None)
    assert str(gate) == f"{requirement}: not measured"


def test_a_figure_measured_on_fewer_rows_says_on_how_many() -> None:
    assert judge(parse_requirement("flip_rate_typos_high <= 0.1"), FIGURES, 300).rows == 100
    assert judge(parse_requirement("accuracy >= 0.1"), FIGURES, 300).rows == 300


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("better than before", "METRIC >= NUMBER"),
        ("accuracy >=", "neither a number nor an alias"),
        ("accuracy >= 0,8", "neither a number nor an alias"),
        ("accuracy >= 80%", "0.8 for 80%"),
        ("accuracy == 0.8", "== is no comparison"),
        ("accuracy => 0.8", "=> is no comparison"),
        ("accuracy ≥ 0.8", "≥ is no comparison"),
        ("accuracy >= nan", "finite"),
        ("accuracy <= inf", "finite"),
        ("0.8 <= accuracy <= 0.9", "not understood"),
    ],
)
def test_what_is_no_requirement_is_answered_with_how_one_reads(requirement: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_requirement(requirement)

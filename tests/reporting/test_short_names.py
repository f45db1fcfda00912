"""Long names are shortened so that what tells them apart stays."""

from __future__ import annotations

import pytest

from luthier.reporting.short_names import short_names, shortened

GRID = [
    f"reviews-stars-few-shot-gpt-4o-mini-2024-07-18-{count}-examples-{choice}-seed-{seed}"
    for count in (4, 16)
    for choice in ("random", "nearest")
    for seed in (1, 2, 3)
]


def test_names_of_a_grid_keep_their_settings_and_lose_what_all_share() -> None:
    shown = short_names([*GRID, "baseline"], 28)
    assert shown["baseline"] == "baseline"
    for name in GRID:
        assert len(shown[name]) <= 28
        for word in ("16-" if "-16-" in name else "4-", "nearest" if "nearest" in name else "random", name[-1]):
            assert word in shown[name]


@pytest.mark.parametrize("most", [12, 20, 32])
def test_no_two_names_look_the_same(most: int) -> None:
    alike = [f"{'a' * 30}{letter}{'b' * 33}" for letter in "xyz"]
    for names in (GRID, alike, [f"{'很长的名字' * 12}{n}" for n in range(40)], ["a" * 64, "a" * 63]):
        assert len(set(short_names(names, most).values())) == len(names)


def test_a_name_that_fits_is_whole() -> None:
    assert short_names(["one", "x" * 64], 64) == {"one": "one", "x" * 64: "x" * 64}
    assert short_names([], 10) == {}


def test_two_families_of_long_names_are_told_apart_by_their_own_words() -> None:
    few = [f"customer-feedback-few-shot-with-{n}-similar-examples-of-the-train-table" for n in (2, 8)]
    zero = [f"customer-feedback-zero-shot-with-temperature-{n}-of-the-large-model" for n in (0, 1)]
    shown = short_names([*few, *zero], 30)
    assert all("few" in shown[name] for name in few) and all("zero" in shown[name] for name in zero)
    assert all(len(text) <= 30 for text in shown.values())


def test_the_middle_is_left_out_of_a_name_without_words() -> None:
    assert shortened("0123456789abcdef", 9) == "0123…cdef"
    assert shortened("short", 9) == "short"

"""Which specs of a leaderboard are draws of one recipe."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import luthier as lt
from luthier.evaluation.leaderboard import Leaderboard
from luthier.evaluation.ranking import build_leaderboard
from luthier.experiments.spreads import spreads_of
from luthier.spec import GridPoint, Spec
from tests.evaluation.answering import STARS, candidate, simulated, table

TRUTH = np.random.default_rng(3).integers(0, 5, 60)
SEED = "prompt.examples.seed"


def specs(grid: str, name: str, *settings: Mapping[str, object]) -> list[Spec]:
    endpoint = lt.compatible("m", base_url="http://127.0.0.1:1/v1")
    found: list[Spec] = []
    for place, point in enumerate(settings):
        spec = lt.Prompt(STARS, "{{ text }}", examples=1, endpoint=endpoint, name=f"{name}-{place}")
        spec.mark_grid_point(GridPoint(grid, point, name))
        found.append(spec)
    return found


def board(given: list[Spec]) -> Leaderboard:
    answers = [candidate(spec.name, simulated(STARS, TRUTH, 1, place)) for place, spec in enumerate(given)]
    return build_leaderboard(STARS, table(STARS, [STARS.labels[i] for i in TRUTH]), answers, resamples=50)


def test_grids_in_two_files_of_one_name_are_two_spreads() -> None:
    one = specs("few.yaml", "mine", *({SEED: n, "prompt.examples.count": 3} for n in (1, 2)))
    other = specs("few.yaml", "yours", *({SEED: n, "decoding.temperature": 0.5} for n in (1, 2, 3)))
    found = spreads_of([*one, *other], board([*one, *other]))
    assert [[(group.name, group.draws) for group in spread.groups] for spread in found] == [
        [("count 3", 2)],
        [("temperature 0.5", 3)],
    ]


def test_settings_with_other_numbers_of_seeds_are_groups_of_their_own_size() -> None:
    points = [(1, "a"), (2, "a"), (3, "a"), (1, "b"), (2, "b")]
    given = specs("few.yaml", "few", *({SEED: seed, "prompt.template": text} for seed, text in points))
    [spread] = spreads_of(given, board(given))
    assert [(group.name, group.draws) for group in spread.groups] == [("template a", 3), ("template b", 2)]


def test_a_seed_that_draws_nothing_is_one_draw() -> None:
    endpoint = lt.compatible("m", base_url="http://127.0.0.1:1/v1")
    few = lt.Prompt(STARS, "{{ text }}", examples=1, endpoint=endpoint, name="few")
    given = lt.grid(few, {"prompt.examples.count": [0, 1], SEED: [1, 2, 3]})
    [spread] = spreads_of(given, board(given))
    assert [(group.name, group.draws) for group in spread.groups] == [("count 0", 1), ("count 1", 3)]


def test_specs_without_seeds_have_no_spread() -> None:
    given = specs("few.yaml", "few", {"prompt.examples.count": 1}, {"prompt.examples.count": 3})
    assert spreads_of(given, board(given)) == ()

"""Strategies on tables of trials that were not looked at when the default was chosen.

    python benchmarks/sweep_landscapes.py [--seeds 200] [--chosen-with]

The tables (`data/trials-*.csv`, made by `sweep_trainings.py`) have 400 jobs of the embedded trainer each, at random
bases, epochs, batch sizes and learning-rate multipliers, on reviews. A strategy proposes a point and gets the
nearest job that it has not tried yet. Reported: tokens until the top 5% and the top 1% of the table, and the best F1
after 40 trials. `--chosen-with` shows the tables that the default was chosen with instead.
"""

from __future__ import annotations

import argparse

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sweep_tables import STRATEGIES, Space, TrialTable, print_searches, search
from sweep_trainings import BASES, BATCH_SIZES, DATA, MOST_EPOCHS, RATES

HELD_APART = ("sample-300", "yelp-400")
CHOSEN_WITH = ("sample-80", "yelp-120")
AFTER = 40
SPACE: Space = {
    "base": CategoricalDistribution(BASES),
    "n_epochs": IntDistribution(1, MOST_EPOCHS),
    "batch_size": CategoricalDistribution(BATCH_SIZES),
    "learning_rate_multiplier": FloatDistribution(*RATES, log=True),
}


def main() -> None:
    """Prints a table per landscape."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--chosen-with", action="store_true")
    given = parser.parse_args()
    for name in CHOSEN_WITH if given.chosen_with else HELD_APART:
        table = TrialTable(name, DATA / f"trials-{name}.csv", SPACE, "trained_tokens", "weighted_f1")
        targets = table.top(0.05), table.top(0.01)
        found = {
            strategy: [search(table, make, seed, targets, AFTER) for seed in range(given.seeds)]
            for strategy, make in STRATEGIES.items()
        }
        print_searches(table, found, ("top 5%", "top 1%"), AFTER)


if __name__ == "__main__":
    main()

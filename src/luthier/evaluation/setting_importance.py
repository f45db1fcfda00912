"""How much each setting matters to the result of a trial: permutation importance on trials a forest was not fitted to.

A random forest learns the result from the settings of four fifths of the trials and predicts the last fifth. A setting
matters as far as predictions get worse where its values are taken from other trials (Breiman 2001, Random Forests;
Fisher, Rudin and Dominici 2019, All Models are Wrong, but Many are Useful). The difference is known for each trial, so
an interval follows from drawing trials again (Watson and Wright 2021, Testing Conditional Independence in Supervised
Learning Algorithms). Half of it is the variance that depends on the setting (Gregorutti, Michel and Saint-Pierre 2017,
Correlation and Variable Importance in Random Forests): taking another trial's value is off twice, by both values.

fANOVA and PED-ANOVA, which Optuna offers, divide all variance among the settings, that by chance too, and give no
interval. On 175 fine-tuned models that a search had gathered in one corner they gave epochs .35 and .01 of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from luthier.evaluation.resampling import Floats, Interval, percentile_interval, weights
from luthier.evaluation.trials import TrialTable, is_number, result, value_key

__all__ = ["FEWEST_FOR_IMPORTANCE", "ImportanceOfSettings", "SettingImportance", "importance_of"]

FEWEST_FOR_IMPORTANCE = 20
"""Fewer trials than this tell nothing: a forest learns from four fifths of them."""

MOST_LEARNED_FROM = 600
"""More trials than this are sampled: they would take longer and change little."""

FOLDS, REPEATS, TREES, FEWEST_PER_LEAF, PERMUTATIONS = 5, 2, 50, 5, 5
"""Leaves of five trials do not follow single ones, which differ by chance."""

RESAMPLES = 2000


@dataclass(frozen=True)
class SettingImportance:
    """How much a setting matters.

    Attributes:
        setting: its name.
        share: how much of the variance of the results depends on it. Shares do not add up to 1: settings may matter
            together, and much of the variance may be chance.
    """

    setting: str
    share: Interval

    @property
    def is_certain(self) -> bool:
        """Whether its interval lies above 0."""
        return self.share.low is not None and self.share.low > 0


@dataclass(frozen=True)
class ImportanceOfSettings:
    """How much the settings of a table matter.

    Attributes:
        explained: share of the variance of the results that all settings together predict in trials the forest was not
            fitted to; at 0 or below they predict nothing.
        settings: each that differs, the most important one first.
        trials: how many were learned from.
    """

    explained: Interval
    settings: tuple[SettingImportance, ...]
    trials: int

    @property
    def is_certain(self) -> bool:
        """Whether settings predict results better than their mean does."""
        return self.explained.low is not None and self.explained.low > 0


def importance_of(table: TrialTable, seed: int = 7) -> ImportanceOfSettings | None:
    """How much each setting matters; `None` below 20 trials, or where no setting or no result differs.

    It is about the trials there are: where a search went to few places of a setting, that setting seems to matter
    less. 200 trials take about a second.

    Args:
        table: the trials.
        seed: of folds, forests and permutations.
    """
    trials = list(table.complete)
    generator = np.random.default_rng(seed)
    if len(trials) > MOST_LEARNED_FROM:
        trials = [trials[place] for place in sorted(generator.permutation(len(trials))[:MOST_LEARNED_FROM])]
    results = np.array([result(one) for one in trials])
    if len(trials) < FEWEST_FOR_IMPORTANCE or not table.varied or not np.ptp(results):
        return None
    blocks = [_encoded([one.settings.get(setting.name, _ABSENT) for one in trials]) for setting in table.varied]
    by_mean, by_settings, without = _errors(blocks, results, seed, generator)
    gains = {one.name: gain for one, gain in zip(table.varied, (without - by_settings) / 2, strict=True)}
    explained, *shares = _shares_of_variance(np.stack([by_mean - by_settings, *gains.values()]), results, seed)
    found = [SettingImportance(name, share) for name, share in zip(gains, shares, strict=True)]
    found.sort(key=lambda one: -one.share.value)
    return ImportanceOfSettings(explained, tuple(found), len(trials))


def _errors(
    blocks: Sequence[Floats], results: Floats, seed: int, generator: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Squared errors of held-out trials, by the mean, by all settings, and without each setting.

    Args:
        blocks: per setting its columns, shape (trials, columns).
        results: shape (trials,).
        seed: of folds and forests.
        generator: of permutations.

    Returns:
        Arrays of shape (trials,), (trials,) and (settings, trials), averaged over repeats.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    count = len(results)
    ends = np.cumsum([block.shape[1] for block in blocks])
    spans = [slice(end - block.shape[1], end) for end, block in zip(ends, blocks, strict=True)]
    table = np.hstack(blocks)
    by_mean, by_settings, without = np.zeros(count), np.zeros(count), np.zeros((len(blocks), count))
    for repeat in range(REPEATS):
        for known, held_out in KFold(FOLDS, shuffle=True, random_state=seed + repeat).split(table):
            forest = RandomForestRegressor(TREES, min_samples_leaf=FEWEST_PER_LEAF, random_state=seed + repeat)
            forest.fit(table[known], results[known])
            truth = results[held_out]
            by_mean[held_out] += (truth - results[known].mean()) ** 2 / REPEATS
            by_settings[held_out] += (truth - forest.predict(table[held_out])) ** 2 / REPEATS
            for place, span in enumerate(spans):
                # All permutations in one call: a call costs more than its rows.
                changed = np.tile(table[held_out], (PERMUTATIONS, 1))
                changed[:, span] = table[generator.integers(0, count, len(changed)), span]
                wrong = np.tile(truth, PERMUTATIONS) - forest.predict(changed)
                without[place, held_out] += (wrong**2).reshape(PERMUTATIONS, -1).mean(axis=0) / REPEATS
    return by_mean, by_settings, without


def _shares_of_variance(gains: Floats, results: Floats, seed: int) -> list[Interval]:
    """Mean gains as shares of the variance of the results, with percentile intervals over drawn trials.

    Args:
        gains: per quantity and trial, shape (quantities, trials).
        results: shape (trials,).
        seed: of the draws.
    """
    count = len(results)
    centred = results - results.mean()
    draws = []
    for drawn in weights(count, RESAMPLES, seed):
        variance = drawn @ centred**2 / count - (drawn @ centred / count) ** 2
        # A draw of equal results has no variance to share.
        usable = variance > 0
        draws.append((gains @ drawn[usable].T) / count / variance[usable])
    every = np.concatenate(draws, axis=1)
    values = gains.mean(axis=1) / results.var()
    return [percentile_interval(float(value), line) for value, line in zip(values, every, strict=True)]


def _encoded(values: Sequence[object]) -> Floats:
    """A setting's values as columns of shape (trials, columns).

    Numbers are one column, with a number below all others where a trial does not have the setting. Other values have a
    column each, unless they are those of a single trial.
    """
    given = [value for value in values if value is not _ABSENT]
    numbers = [float(value) for value in given if is_number(value) and isinstance(value, int | float)]
    if len(numbers) == len(given):
        below = 2 * min(numbers) - max(numbers) - 1
        columns = [float(value) if isinstance(value, int | float) else below for value in values]
        return np.array(columns)[:, None]
    keys = ["" if value is _ABSENT else value_key(value) for value in values]
    recurring = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
    return np.array([[float(key == one) for one in recurring] or [0.0] for key in keys])


_ABSENT = object()

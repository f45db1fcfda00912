"""What there is to say about a sweep: how far it is, what it found, what it cost and saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from luthier.evaluation.resampling import Interval
from luthier.providers.prices import dollars
from luthier.reporting.numbers import interval, number, printable
from luthier.reporting.setting_words import written_settings
from luthier.sweeps.study_state import FinalistFigures, StudyState, is_ended
from luthier.sweeps.sweep_words import STATUS_WORDS, figure_title, figure_unit
from luthier.sweeps.trial import TrialStatus

__all__ = [
    "best_sentences",
    "listed_trials",
    "money_sentences",
    "next_sentences",
    "sweep_sentences",
]

ENDED: tuple[TrialStatus, ...] = ("complete", "pruned", "failed")
ALIVE: tuple[TrialStatus, ...] = ("running", "paused", "interrupted")

MOST_NAMED = 8
"""Trials that a sentence names by number; more are counted."""


def sweep_sentences(state: StudyState) -> list[str]:
    """Everything to take from a sweep, the most important first."""
    return [*best_sentences(state), _counts(state), *_faults(state), *money_sentences(state)]


def _winner(state: StudyState) -> list[str]:
    """The winner on rows that selection never saw, and those it cannot be told from; nothing before there is one."""
    won = state.winner
    if won is None:
        return []
    first, *others = won.finalists
    title, unit = figure_title(won.metric), figure_unit(won.metric)
    said = [
        f"Trial {won.number} is the winner: {title} {interval(first.holdout, unit)} on {won.holdout_rows:,} holdout "
        f"rows, which selection never saw; {interval(first.selection, unit)} on the {won.selection_rows:,} selection "
        f"rows. The shrinkage is {number(first.shrinkage, 'gap')}."
    ]
    settings = next((trial.settings for trial in state.own if trial.number == won.number), {})
    said += [f"Its settings: {written_settings(settings)}."] if settings else []
    if others:
        said.append(
            f"On the selection rows it cannot be told from {listed_trials([one.number for one in others])}"
            f"{_cheapest(state, first, others)}."
        )
    return [*said, *([won.said] if won.said else [])]


def money_sentences(state: StudyState) -> list[str]:
    """What was spent, set aside and saved."""
    facts = state.facts
    unknown = [trial for trial in state.own if is_ended(trial) and trial.cost_usd is None]
    of = "" if facts.budget_usd is None else f" of the budget of {dollars(facts.budget_usd)}"
    aside = "" if not state.reserved_usd else f"; {dollars(state.reserved_usd)} more is reserved"
    said = [f"Spent: {dollars(state.spent_usd)}{of}{aside}."]
    if unknown:
        said[0] += f" The cost of {_count(len(unknown), 'trial')} is not known and not in this sum"
        kept = any(trial.reserved_usd for trial in unknown)
        said[0] += "; what was reserved for it stays set aside." if kept else "."
    stopped = state.stopped_early
    if stopped:
        tokens, usd = state.saved_tokens, state.saved_usd
        about = "about " if any(trial.tokens_estimated for trial in stopped) else ""
        saved = [] if tokens is None else [f"{about}{tokens:,} trained tokens{_share(state, tokens)}"]
        saved += [] if usd is None else [f"{about}{dollars(usd)}"]
        what = " and ".join(saved) if saved else "an amount that the service does not tell"
        said.append(f"Early stopping ended {_count(len(stopped), 'trial')} and saved {what}.")
    return said


def next_sentences(state: StudyState) -> list[str]:
    """What to type next."""
    name = state.facts.name
    counts = Counter(trial.status for trial in state.own)
    if counts["running"]:
        return [f"stop it: luthier sweep stop {name}"]
    left = counts["paused"] + counts["interrupted"]
    said = [f"go on:   luthier sweep resume {name}"] if left or len(state.own) < state.facts.trials else []
    if state.best is not None:
        said.append(f"package: luthier sweep best {name} --log --register NAME --alias challenger")
    return said


def listed_trials(numbers: Sequence[int]) -> str:
    """Trials by number.

    Examples:
        >>> listed_trials([3]), listed_trials([3, 7, 9])
        ('trial 3', 'trials 3, 7 and 9')
    """
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    if len(numbers) > MOST_NAMED:
        return f"{len(numbers):,} trials"
    return f"trials {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def best_sentences(state: StudyState) -> list[str]:
    """The best trial, or the front of several objectives; the winner on holdout rows, once there is one."""
    best, objectives = state.best, state.facts.objectives
    if len(objectives) > 1:
        front = state.front
        if not front:
            return []
        names = " and ".join(figure_title(one.metric) for one in objectives)
        return [
            *_winner(state),
            f"The front of {names} has {_count(len(front), 'trial')}: no other one is better in one of them without "
            f"being worse in another. On it {'is' if len(front) == 1 else 'are'} "
            f"{listed_trials([one.number for one in front])}.",
        ]
    if state.winner is not None:
        return _winner(state)
    if best is None:
        return []
    figure = state.figure(best, objectives[0].metric) or Interval(best.values[0])
    said = (
        f"Best so far: trial {best.number}, {figure_title(objectives[0].metric)} "
        f"{interval(figure, figure_unit(objectives[0].metric))} on the selection rows, with "
        f"{written_settings(best.settings) or 'no settings'}."
    )
    count = len(state.complete)
    if count > 1:
        said += f" It is the best of {count:,} on the rows they were chosen by, so the figure overstates."
    return [said]


def _counts(state: StudyState) -> str:
    counts = Counter(trial.status for trial in state.own)
    done = sum(is_ended(trial) for trial in state.own)
    kinds = [f"{counts[status]:,} {STATUS_WORDS[status]}" for status in ENDED if counts[status]]
    alive = [f"{counts[status]:,} {STATUS_WORDS[status]}" for status in ALIVE if counts[status]]
    said = f"{done:,} of {state.facts.trials:,} trials are done"
    said += f" ({', '.join(kinds)})" if kinds else ""
    said += f"; {', '.join(alive)}." if alive else "."
    imported = len(state.trials) - len(state.own)
    if imported:
        said += f" The sampler also knows {_count(imported, 'earlier trial')}."
    return said


def _faults(state: StudyState) -> Iterator[str]:
    failed = [trial for trial in state.own if trial.status == "failed"]
    reasons = Counter(printable(trial.reason) or "no reason is known" for trial in failed)
    for reason, _ in reasons.most_common(3):
        numbers = [trial.number for trial in failed if (printable(trial.reason) or "no reason is known") == reason]
        yield f"{listed_trials(numbers).capitalize()} failed: {reason.rstrip('.')}."


def _cheapest(state: StudyState, first: FinalistFigures, others: Sequence[FinalistFigures]) -> str:
    """Which of those that cannot be told apart cost less to ask, where that is known."""
    metric = "cost_per_1000_rows_usd"
    costs = {trial.number: trial.measured[metric] for trial in state.own if metric in trial.measured}
    known = [one.number for one in others if one.number in costs]
    if first.number not in costs or not known:
        return ""
    least = min(known, key=lambda one: costs[one])
    if costs[least] >= costs[first.number]:
        return ""
    return (
        f"; trial {least} is cheaper to ask, {dollars(costs[least])} a thousand rows instead of "
        f"{dollars(costs[first.number])}"
    )


def _share(state: StudyState, saved: int) -> str:
    """What the saved tokens are a share of: all that would have been trained."""
    trained = [trial.trained_tokens for trial in state.own if trial.trained_tokens is not None]
    whole = sum(trained) + saved
    return f", {number(saved / whole, 'percent')} of what would have been trained," if whole else ""


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

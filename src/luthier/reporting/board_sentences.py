"""What a leaderboard says, in sentences: who leads, who cannot be told apart, how many rows it would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from luthier.engine.report import counted
from luthier.evaluation.leaderboard import Entry, Leaderboard
from luthier.evaluation.resampling import Interval
from luthier.reporting.numbers import interval, number, printable
from luthier.reporting.short_names import short_names
from luthier.tasks.prediction import State
from luthier.tasks.spellings import with_article
from luthier.truncation import truncated

__all__ = ["headline_metrics", "in_words", "named", "sentences", "unlabelled_share", "with_short_names"]

NAMED = 4
"""So many specs are named in a sentence before the rest are counted."""

MOST_METRICS = 3
"""In a line about a spec."""

LONGEST_ERROR = 200
"""Characters shown of what a service said."""

LONGEST_REASON = 400
"""Characters shown of why a spec is missing; what to change stands at the end."""

FEWEST_ROWS = 5
"""Test rows of a label, below which a mean over labels depends on whether the label was drawn at all."""

LOST: tuple[tuple[State, str], ...] = (("off_label", "off label"), ("refused", "refused"), ("failed", "failed"))
"""States without a label that count as wrong, and how they are said."""


def headline_metrics(board: Leaderboard) -> tuple[str, ...]:
    """The few metrics a table has room for, the one that ranks first."""
    kind = board.task.kind
    names = dict.fromkeys((board.ranked_by, *(kind.headline or kind.metrics)))
    return tuple(name for name in names if any(name in entry.metrics for entry in board.entries))


def in_words(board: Leaderboard, entry: Entry, *, bounds_of: int = MOST_METRICS) -> str:
    """A line of the leaderboard as a sentence: its name and first metrics, of which so many have their bounds."""
    said = []
    for place, name in enumerate(headline_metrics(board)[:MOST_METRICS]):
        found, measure = entry.metrics.get(name), board.measures[name]
        if found is not None:
            found = found if place < bounds_of else Interval(found.value)
            said.append(f"{measure.title} {interval(found, measure.format)}")
    return f"{entry.name}: {', '.join(said)}"


def unlabelled_share(entry: Entry) -> float:
    """Share of the evaluated rows without a label: off label, refused or failed."""
    rows = sum(count for state, count in entry.states.items() if state != "empty")
    lost = sum(entry.states.get(state, 0) for state, _ in LOST)
    return lost / rows if rows else 0.0


def sentences(board: Leaderboard) -> list[str]:
    """What to take from the leaderboard, most important first; plain text that may hold untrusted names.

    Long names are shortened, as in tables.
    """
    return list(_sentences(with_short_names(board)))


def with_short_names(board: Leaderboard) -> Leaderboard:
    """The leaderboard with long names of its specs shortened, for sentences; see `short_names`."""
    stopped = () if board.race is None else board.race.stopped
    shown = short_names([*(entry.name for entry in board.entries), *board.waiting, *(one.name for one in stopped)])
    if all(name == short for name, short in shown.items()):
        return board
    entries = (replace(one, candidate=replace(one.candidate, name=shown[one.name])) for one in board.entries)
    pairs = (replace(one, first=shown[one.first], second=shown[one.second]) for one in board.pairs)
    plan = board.plan and replace(board.plan, first=shown[board.plan.first], second=shown[board.plan.second])
    waiting = tuple(shown[name] for name in board.waiting)
    return replace(board, entries=tuple(entries), pairs=tuple(pairs), plan=plan, waiting=waiting)


def _sentences(board: Leaderboard) -> Iterator[str]:
    done, whole = len(board.entries), len(board.entries) + len(board.waiting)
    if board.waiting:
        yield (
            f"This leaderboard is not complete: {done} of {whole} specs {'is' if done == 1 else 'are'} measured. Still "
            f"to come: {named(board.waiting)}. Specs are compared with each other once all are measured."
        )
    if board.partial:
        yield (
            "This leaderboard is partial: some rows failed for a transient reason and count as wrong until they are "
            "answered. Run the same command again; rows that have an answer cost nothing."
        )
    if not board.waiting:
        yield _leader(board)
        if done > 1:
            yield _ties(board)
        yield from _plan(board)
        yield from _race(board)
    yield from _rare(board)
    if not board.waiting:
        yield from _majority(board)
    if board.ceiling is not None and board.ranked_by in board.ceiling.metrics:
        yield (
            f"A single human rater reaches {board.measure.title} "
            f"{interval(board.ceiling.metrics[board.ranked_by], board.measure.format)} (mean of "
            f"{board.ceiling.candidate.model}); this is slightly too high, because each person's vote is part of the "
            "true label."
        )
    yield from _lost(board)
    yield from _partial(board)
    if board.rows_empty:
        one = board.rows_empty == 1
        yield (
            f"{board.rows_empty:,} row{' has' if one else 's have'} no text and {'is' if one else 'are'} left out for "
            "every spec."
        )
    if any(entry.from_journal_share for entry in board.entries):
        yield "Answers from the journal cost nothing now; the cost and latency shown are those of the original calls."
    for name, why in list(board.missing.items())[:NAMED]:
        yield f"Missing is {name}: {truncated(why, LONGEST_REASON).rstrip('.')}."
    if len(board.missing) > NAMED:
        yield f"{len(board.missing) - NAMED} further specs are missing too."
    for entry in board.entries:
        yield from (f"{entry.name}: {note}" for note in entry.candidate.notes)


def _leader(board: Leaderboard) -> str:
    best, measure = board.best, board.measure
    found = interval(best.metrics[board.ranked_by], measure.format)
    explained = "; in brackets the 95% interval" if "(" in found else ""
    verb = "reaches" if len(board.entries) == 1 else "leads with"
    return f"{best.name} {verb} {measure.title} {found} on {counted(board.rows_evaluated, 'row')}{explained}."


def _ties(board: Leaderboard) -> str:
    ranked = [entry for entry in board.entries if board.ranked_by in entry.metrics]
    if len(ranked) < 2:
        return f"No other spec has {board.measure.title}, so there is nothing to compare it with."
    tied = board.tied_with(board.best.name)
    if not tied and len(board.entries) == 2:
        return f"It is better than {ranked[1].name}."
    if not tied:
        return "It is better than every other spec, also after correcting for the number of comparisons."
    shown = "any other spec" if len(tied) == len(ranked) - 1 > 1 else named(tied)
    return (
        f"It cannot be told apart from {shown} on these rows: choose among them by cost and speed, or test more rows."
    )


def _plan(board: Leaderboard) -> list[str]:
    plan = board.plan
    if plan is None or plan.second not in board.tied_with(plan.first):
        return []
    gap = number(abs(plan.difference), board.measures[plan.metric].format)
    corrected = f", corrected for {board.comparisons} comparisons" if plan.alpha < board.alpha else ""
    if plan.rows_needed is None:
        return [f"{plan.first} and {plan.second} gave the same answers: no number of rows like these tells them apart."]
    if plan.rows_needed > 1_000_000:
        return [f"{plan.first} and {plan.second} differ so little that over a million rows would not tell them apart."]
    return [
        f"To tell {plan.first} from {plan.second} takes about {_rounded(max(plan.rows_needed, plan.rows_now + 1))} "
        f"rows, if the difference of {gap} seen here is the true one ({plan.power:.0%} power{corrected}); there are "
        f"{plan.rows_now:,}."
    ]


def _race(board: Leaderboard) -> list[str]:
    race = board.race
    if race is None:
        return []
    made = f"{race.answers:,} answers instead of {race.full_answers:,}"
    if not race.stopped:
        return [f"The race stopped no spec: after each look all could still be among the best ({made})."]
    one = len(race.stopped) == 1
    whole = len(race.stopped) + len(board.entries)
    return [
        f"{len(race.stopped)} of {whole} specs {'was' if one else 'were'} stopped early, as {'it' if one else 'they'} "
        f"would have ended significantly behind; that took {made}, {number(race.saved_share, 'percent')} less."
    ]


def _rare(board: Leaderboard) -> list[str]:
    if board.ranked_by not in ("macro_f1", "balanced_accuracy") or not board.task.labels:
        return []
    # Rows of the confusion are the true labels; every spec has the same ones.
    support = zip(board.task.labels, (sum(row) for row in board.majority.plots.confusion), strict=True)
    rare = [label for label, rows in support if rows < FEWEST_ROWS]
    if not rare:
        return []
    return [
        f"Fewer than {FEWEST_ROWS} test rows have the label {named(rare)}, which {board.measure.title} "
        "counts as much as any other: its true uncertainty is larger than the intervals show. Rank by another metric, "
        "or add rows with that label."
    ]


def _majority(board: Leaderboard) -> list[str]:
    weak = [entry.name for entry in board.entries if entry.above_majority is False]
    if not weak:
        return []
    note = board.task.kind.constant_note
    what = f"“{board.majority.name}”, which gives every row {note[0].lower()}{note[1:]}"
    if len(weak) == len(board.entries) > 1:
        return [f"No spec is measurably better than {what}."]
    return [f"Not measurably better than {what}: {named(weak)}."]


def _lost(board: Leaderboard) -> list[str]:
    value = board.task.kind.value_name
    out = []
    for entry in board.entries:
        lost = [f"{entry.states[state]:,} {word}" for state, word in LOST if entry.states.get(state)]
        if lost:
            share = number(unlabelled_share(entry), "percent")
            out.append(
                f"{entry.name} has no {value} for {share} of the rows ({', '.join(lost)}); they count as wrong."
                f"{_why_failed(entry)}"
            )
    if len(out) > NAMED:
        out = [
            *out[:NAMED],
            f"{len(out) - NAMED} more specs have rows without {with_article(value)}; they count as wrong.",
        ]
    return out


def _partial(board: Leaderboard) -> list[str]:
    """Specs whose answers have parts that did not fit their row."""
    kind = board.task.kind
    rates = {
        one.name: one.metrics[kind.partial_rate].value for one in board.entries if kind.partial_rate in one.metrics
    }
    stated = [f"{name} states some for {number(rate, 'percent')} of the rows" for name, rate in rates.items() if rate]
    note = kind.partial_note
    return [f"{note[:1].upper()}{note[1:]} are left out and count as wrong: {named(stated)}."] if stated else []


def _why_failed(entry: Entry) -> str:
    errors = Counter(one.error for one in entry.candidate.predictions if one.state == "failed" and one.error)
    if not errors:
        return ""
    [(error, times)] = errors.most_common(1)
    said = printable(error)
    said = said if len(said) <= LONGEST_ERROR else f"{said[: LONGEST_ERROR - 3]}..."
    return f" The {'most frequent ' if times < errors.total() else ''}error: {said}"


def named(names: Sequence[str]) -> str:
    """A few names in a sentence, the rest counted.

    Examples:
        >>> named(["a"]), named(["a", "b", "c"]), named(["a", "b", "c", "d", "e", "f"])
        ('a', 'a, b and c', 'a, b, c, d and 2 more')
    """
    shown = [*names[:NAMED]]
    if len(names) > NAMED:
        shown.append(f"{len(names) - NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _rounded(rows: int) -> str:
    """Two digits: the number is an estimate from a handful of rows."""
    size = 10 ** max(len(str(rows)) - 2, 0)
    return f"{-(-rows // size) * size:,}"

"""What a search for a better prompt found, as sentences, tables and a diff: for a terminal, a notebook and a page."""

from __future__ import annotations

from collections.abc import Iterator

from luthier.engine.report import counted
from luthier.evaluation.statistics import ALPHA
from luthier.improving.improvement_facts import ImprovementFacts, PromptFigures
from luthier.providers.prices import dollars
from luthier.reporting.numbers import interval, number
from luthier.reporting.table import (
    Block,
    Column,
    Columns,
    Fold,
    Lines,
    Page,
    Row,
    Section,
    Table,
    glossary,
    left_out,
)

__all__ = ["improvement_page", "improvement_sections", "improvement_sentences"]

MOST_PRINTED = 8
"""Prompts that a terminal shows; the page and `frame` have them all."""

LONGEST_HOW = 48

TERMS = {
    "Training rows": "The rows that prompts were chosen on. The best of many looks better on them than it is.",
    "Fresh rows": "Rows of the validation table. No choice saw them, so a figure on them is what to expect.",
    "Shrinkage": "By how much a prompt looked better on the training rows than it is on fresh ones.",
    "Gain": "The score on fresh rows minus that of the first prompt on the same rows, with its 95% interval.",
    "p": "Chance of a difference like this between prompts that are equally good, after Holm's correction for all "
    "prompts that were measured on fresh rows.",
    "Rows": "Training rows that the prompt was asked. A race asks poor ones about some rows only.",
}


def improvement_sections(facts: ImprovementFacts, more: tuple[str, ...] = ()) -> tuple[Section, ...]:
    """What was found: the sentences, the finalists, the prompts tried, what changed.

    Args:
        facts: of the search.
        more: sentences beneath, such as which file was written.
    """
    blocks: list[Block] = [Lines(improvement_sentences(facts))]
    if facts.finalists:
        blocks.append(_finalists(facts))
    others = [one for one in facts.prompts if one.fresh is None]
    if others:
        notes = left_out("other prompts", len(others), MOST_PRINTED)
        blocks.append(_tried(facts, others[:MOST_PRINTED], notes))
    if facts.diff().lines:
        blocks.append(Section(f"From {facts.start} to {facts.winner}", (facts.diff(),)))
    if more:
        blocks.append(Lines(more))
    return (Section(f"improve {facts.start}", tuple(blocks)),)


def improvement_page(facts: ImprovementFacts) -> Page:
    """The page of a search."""
    sections = []
    if facts.finalists:
        sections.append(Section("On fresh rows", (_finalists(facts),)))
    if facts.diff().lines:
        sections.append(Section("What changed", (facts.diff(),)))
    sections.append(Section("Every prompt", (_tried(facts, facts.prompts, ()), *_wordings(facts))))
    sections.append(Section("Terms", (glossary(TERMS),)))
    lead = f"A search for a better prompt for {facts.task}, from {facts.start}."
    return Page(f"improve {facts.start}: {facts.task}", lead, improvement_sentences(facts), tuple(sections))


def improvement_sentences(facts: ImprovementFacts) -> tuple[str, ...]:
    """What to take from it, the most important first."""
    return tuple(_sentences(facts))


def _sentences(facts: ImprovementFacts) -> Iterator[str]:
    yield _verdict(facts)
    winner, unit = facts.prompt(facts.winner), facts.measure.format
    shrunk = facts.shrinkage(winner)
    if shrunk is not None and winner.fresh is not None and facts.winner != facts.start:
        yield (
            f"{winner.name} was chosen on {winner.rows:,} training rows, where its {facts.measure.title} is "
            f"{number(winner.score.value, unit)}; on fresh rows it is {number(winner.fresh.score.value, unit)}. "
            "Figures on fresh rows changed no choice."
        )
    if not facts.has_gain and facts.gain is not None and facts.gained(facts.gain.value) > 0:
        needed = facts.rows_needed
        if needed is not None and needed > facts.fresh_rows:
            yield (
                f"If the difference seen is the true one, about {needed:,} fresh rows would show it; there are "
                f"{facts.fresh_rows:,}."
            )
    tried = len(facts.prompts) - 1
    by = f" by {' and '.join(facts.by)}" if facts.by else ""
    with_writer = f", written by {facts.writer}" if facts.writer else ""
    yield (
        f"{counted(tried, 'prompt')} tried{by} in {counted(facts.rounds, 'round')}{with_writer}"
        f"{f'; the search ended because {facts.ended}' if facts.ended else ''}."
    )
    yield _money(facts)
    yield from facts.notes


def _verdict(facts: ImprovementFacts) -> str:
    measure, unit = facts.measure, facts.measure.format
    start, winner = facts.prompt(facts.start), facts.prompt(facts.winner)
    if start.fresh is None:
        return (
            f"Not finished: the best prompt so far is {winner.name}, with {measure.title} "
            f"{number(winner.score.value, unit)} on {winner.rows:,} training rows ({facts.start}: "
            f"{number(start.score.value, unit)}). It was chosen on them, so on fresh rows less is to be expected."
        )
    rows = f"{facts.fresh_rows:,} fresh rows"
    if winner.fresh is None or winner.fresh.gain is None or winner.fresh.corrected is None:
        return (
            f"No gain: no prompt was better than {facts.start} on the training rows. Its {measure.title} is "
            f"{interval(start.fresh.score, unit)} on {rows}."
        )
    compared = len(facts.finalists) - 1
    gain = interval(winner.fresh.gain, "gap" if unit == "share" else unit)
    figures = (
        f"{measure.title} {number(winner.fresh.score.value, unit)} against {number(start.fresh.score.value, unit)} on "
        f"{rows}, a difference of {gain}, p {number(winner.fresh.corrected, 'p')}"
        f"{f' corrected over {compared} prompts' if compared > 1 else ''}"
    )
    if facts.has_gain:
        return f"{winner.name} is better than {facts.start}: {figures}."
    return (
        f"No gain: {winner.name}, the best on the training rows, cannot be told from {facts.start}: {figures}."
        if winner.fresh.corrected >= ALPHA
        else f"No gain: {winner.name}, the best on the training rows, is worse than {facts.start}: {figures}."
    )


def _money(facts: ImprovementFacts) -> str:
    spent = "an unknown sum" if facts.spent_usd is None else dollars(facts.spent_usd)
    cap = "" if facts.budget_usd is None else f" of a budget of {dollars(facts.budget_usd)}"
    return f"All answers used cost {dollars(facts.used_usd)}{cap}; {spent} of that was spent now."


def _finalists(facts: ImprovementFacts) -> Table:
    measure, unit = facts.measure, facts.measure.format
    gap = "gap" if unit == "share" else unit
    columns: Columns[PromptFigures] = (
        (Column("prompt", kind="name"), lambda one: one.name),
        (
            Column(f"{measure.title}, fresh rows", unit, short=f"{measure.title}\nfresh", hint=TERMS["Fresh rows"]),
            lambda one: None if one.fresh is None else one.fresh.score,
        ),
        (Column("training rows", unit, short="train", hint=TERMS["Training rows"], brief=1), lambda one: one.score),
        (Column("shrinkage", gap, short="shrunk", hint=TERMS["Shrinkage"]), facts.shrinkage),
        (
            Column(f"gain over {facts.start}", gap, short="gain", hint=TERMS["Gain"], brief=3),
            lambda one: None if one.fresh is None else one.fresh.gain,
        ),
        (
            Column("p, corrected", "p", short="p", hint=TERMS["p"]),
            lambda one: None if one.fresh is None else one.fresh.corrected,
        ),
        (Column("role", least=6, drop=2), lambda one: _role(facts, one)),
    )
    return Table.of(facts.finalists, columns, lambda one, cells: Row(cells, "first" if one.name == facts.best else ""))


def _role(facts: ImprovementFacts, one: PromptFigures) -> str:
    return "start" if one.name == facts.start else "winner" if one.name == facts.winner else "rival"


def _tried(
    facts: ImprovementFacts, prompts: tuple[PromptFigures, ...] | list[PromptFigures], notes: tuple[str, ...]
) -> Table:
    measure = facts.measure
    columns: Columns[PromptFigures] = (
        (Column("prompt", kind="name"), lambda one: one.name),
        (Column("rows", "count", hint=TERMS["Rows"]), lambda one: one.rows),
        (
            Column(f"{measure.title}, training rows", measure.format, short=measure.title, brief=2),
            lambda one: one.score,
        ),
        (Column("round", "count", drop=1), lambda one: one.round or None),
        (Column("made from", drop=2), lambda one: one.parent),
        (Column("how", least=60, drop=3), lambda one: one.how),
        (Column("cost", "usd"), lambda one: one.cost_usd),
    )
    return Table.of(prompts, columns, lambda one, cells: Row(cells, "first" if one.name == facts.best else ""), notes)


def _wordings(facts: ImprovementFacts) -> Iterator[Block]:
    for one in facts.prompts:
        made = f" ({one.how}, from {one.parent})" if one.parent else ""
        blocks: tuple[Block, ...] = (facts.diff(one.name),) if one.name != facts.start else (one.wording,)
        yield Fold(f"{one.name}{made}", blocks)

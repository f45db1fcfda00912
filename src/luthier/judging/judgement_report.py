"""What a judge found, as sentences and tables: for a terminal, a notebook and a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from luthier.evaluation.interval import Interval
from luthier.judging.human_agreement import FEWEST_RATED, MARGIN, SUFFICIENT
from luthier.judging.judgement_facts import HumanAgreement, JudgedPair, JudgedSpec, JudgementFacts, RatedAnswer
from luthier.judging.rating_length import is_strong
from luthier.providers.prices import dollars
from luthier.reporting.charts.chart import Confusion
from luthier.reporting.numbers import Unit, interval, metric_title, number
from luthier.reporting.table import (
    Answered,
    AnsweredRow,
    Block,
    Column,
    Columns,
    Lines,
    Page,
    Row,
    Section,
    SideBySide,
    Table,
    glossary,
    left_out,
)

__all__ = ["judgement_page", "judgement_sections", "judgement_sentences"]

MOST_PAIRS = 10
"""Pairs that a terminal shows; the page and `pairs` have them all."""

MOST_LABELS = 10
"""Labels that have a column of their own."""

ALIKE, FEWEST_ALIKE = 0.95, 10
"""Share of the ratings that are one label, from so many on, at which a judge is said to tell nothing apart."""

TERMS = {
    "Mean rating": "Over the rows that were rated; a row for which the spec has no answer counts the lowest rating.",
    "Share": "Of the rated answers, the share that was given this label, with its 95% interval.",
    "Not rated": "Share of the answers that the judge did not rate: it said something else, refused, or failed. They "
    "are left out of everything but the agreement with people, where they count against the judge.",
    "Not answered": "Rows for which the spec has no answer; the judge is not asked about them.",
    "Group": "Specs that share a letter cannot be told apart by this judge on these rows.",
    "p": "Chance of a difference like this between specs that are equally good, after Holm's correction for all pairs.",
    "QWK": "Quadratic weighted kappa: agreement on the scale beyond chance. 1 is perfect, 0 is what chance gives.",
    "Can stand in": "With several people: the judge agrees with them at most "
    f"{number(MARGIN, 'share')} less than they agree among themselves, also at the lower end of the interval. With "
    f"one: the lower end is at least {number(SUFFICIENT['qwk'], 'share')} (QWK), or "
    f"{number(SUFFICIENT['accuracy'], 'share')} (accuracy).",
}


def judgement_sections(facts: JudgementFacts) -> tuple[Section, ...]:
    """What a terminal and a notebook show."""
    blocks: list[Block] = [Lines(judgement_sentences(facts)), _specs(facts)]
    if _is_rated(facts):
        blocks.append(_pairs(facts, MOST_PAIRS))
    return (Section(f"{facts.judge} judges {facts.task or facts.source}", tuple(blocks)),)


def judgement_page(facts: JudgementFacts) -> Page:
    """The page of a judgement."""
    sections = [Section("Ratings", (_specs(facts),))]
    if _is_rated(facts):
        sections.append(Section("Differences", (_pairs(facts, len(facts.pairs)),)))
    if facts.to_look_at:
        sections.append(_rows(facts))
    if facts.agreement is not None:
        sections.append(Section("The judge and people", tuple(_people(facts, facts.agreement))))
    if facts.judged_run:
        packaging = [f"{facts.next_command} packages {facts.preferred.name}."] if facts.next_command else []
        compared = f"luthier report {facts.judged_run} is the page of the comparison, with this judge's means."
        sections.append(Section("Next", (Lines((*packaging, compared)),)))
    sections.append(Section("Terms", (glossary(TERMS),)))
    lead = f"{facts.judge} ({facts.model}) has rated answers to {facts.rows:,} rows of {facts.source}."
    title = f"{facts.judge} judges {facts.task or facts.source}"
    return Page(title, lead, judgement_sentences(facts), tuple(sections))


def judgement_sentences(facts: JudgementFacts) -> tuple[str, ...]:
    """What to take from it, the most important first."""
    return tuple(_sentences(facts))


def _sentences(facts: JudgementFacts) -> Iterator[str]:
    yield _preference(facts)
    if facts.agreement is not None:
        yield _stand_in(facts, facts.agreement)
        yield from _lenient(facts.agreement)
    elif facts.people_rated:
        yield (
            f"People rated {facts.people_rated:,} of these answers; the judge is held against a person who rated "
            f"{FEWEST_RATED} or more."
        )
    else:
        yield (
            "How far this judge agrees with people is not known: rate some of these answers yourself "
            "(luthier judge --sheet FILE writes a table for it) and give them with --human."
        )
    yield from _alike(facts)
    yield from _longer(facts)
    yield from _missing(facts)
    yield from facts.notes
    spent = "an unknown sum" if facts.spent_usd is None else dollars(facts.spent_usd)
    yield f"The ratings cost {spent} now."


def _is_rated(facts: JudgementFacts) -> bool:
    return any(pair.rows for pair in facts.pairs)


def _unit(facts: JudgementFacts) -> Unit:
    return "number" if facts.ordered else "share"


def _preference(facts: JudgementFacts) -> str:
    best, unit = facts.preferred, _unit(facts)
    if math.isnan(best.score.value):
        return f"{facts.judge} rated no answer{_unread(facts)}."
    score = f"{facts.measure} {interval(best.score, unit)}"
    if len(facts.specs) == 1:
        return f"{facts.judge} rates {best.name}: {score} on {facts.rows:,} rows."
    pair = facts.pairs[0]
    gap = f"{interval(pair.difference, 'gap')}, p {number(pair.corrected, 'p')}"
    over = f" corrected for {len(facts.pairs)} pairs" if len(facts.pairs) > 1 else ""
    if facts.is_certain:
        return f"{facts.judge} prefers {best.name}, and that is certain: {score}, {gap}{over} above {pair.second}."
    if not pair.rows:
        return f"{facts.judge} rates {best.name}: {score}. It rated no answer of {pair.second} to the same rows."
    if not pair.difference.value:
        return f"{facts.judge} rates {best.name} and {pair.second} alike: {score}."
    ties = [one.second for one in facts.pairs if one.first == best.name and not one.is_certain]
    shown = ", ".join(ties[:3]) + (f" and {len(ties) - 3} others" if len(ties) > 3 else "")
    return (
        f"{facts.judge} rates {best.name} highest ({score}), but cannot tell it from {shown}: the difference to "
        f"{pair.second} is {gap}{over}."
    )


def _stand_in(facts: JudgementFacts, found: HumanAgreement) -> str:
    title = metric_title(found.metric)
    said = f"{title} {interval(found.judge, 'share')}"
    if found.people is not None:
        said += f" with a person, {interval(found.people, 'share')} among {len(found.raters)} people"
        said += "" if found.difference is None else f", a difference of {interval(found.difference, 'gap')}"
    else:
        said += f" with {found.raters[0]}" if len(found.raters) == 1 else f" with {len(found.raters)} people"
    said += f", on {found.answers:,} answers"
    if found.can_stand_in == "yes":
        return f"{facts.judge} can stand in for a person on answers like these: {said}."
    if found.can_stand_in == "no":
        return f"{facts.judge} cannot stand in for a person: {said}."
    return f"Whether {facts.judge} can stand in for a person is open: {said}. More rated answers would tell."


def _lenient(found: HumanAgreement) -> Iterator[str]:
    gap = found.leniency
    if gap is None:
        return
    low, high = (gap.value if end is None else end for end in (gap.low, gap.high))
    if low > 0 or high < 0:
        way = "higher" if gap.value > 0 else "lower"
        yield (
            f"It rates {number(abs(gap.value), 'number')} {way} than people on average, so its ratings say which "
            "answers are better, not how good they are."
        )


def _alike(facts: JudgementFacts) -> Iterator[str]:
    rated = sum(one.states.get("ok", 0) for one in facts.specs)
    counts = {
        label: sum(round(one.shares[label].value * one.states.get("ok", 0)) for one in facts.specs)
        for label in facts.labels
    }
    most = max(counts, key=lambda label: counts[label])
    if rated >= FEWEST_ALIKE and counts[most] >= ALIKE * rated:
        yield f"It rated {counts[most]:,} of {rated:,} answers {most}, so it hardly tells answers apart."


def _longer(facts: JudgementFacts) -> Iterator[str]:
    found = facts.length_correlation
    if found is not None and is_strong(found):
        way = "Longer" if found.value > 0 else "Shorter"
        yield (
            f"{way} answers of a spec are rated higher (rank correlation with the length {interval(found, 'share')}): "
            "they may be better, or the judge may go by length. People's ratings of long and short answers would tell."
        )


def _unread(facts: JudgementFacts) -> str:
    return f"; what it said most often instead of a label: {facts.unread!r}" if facts.unread else ""


def _missing(facts: JudgementFacts) -> Iterator[str]:
    unrated = sum(one.states.get(state, 0) for one in facts.specs for state in ("off_label", "refused", "failed"))
    if unrated:
        worst = max(facts.specs, key=lambda one: one.unrated.value)
        yield (
            f"{unrated:,} answers were not rated and are left out; the largest share is that of {worst.name}, "
            f"{interval(worst.unrated, 'percent')}{_unread(facts)}."
        )
    lacking = [one for one in facts.specs if one.states.get("unanswered")]
    if lacking:
        each = ", ".join(f"{one.name} {one.states['unanswered']:,}" for one in lacking[:3])
        more = f" and {len(lacking) - 3} others" if len(lacking) > 3 else ""
        lowest = "the lowest rating" if facts.ordered else "as not " + facts.labels[0]
        yield f"Rows without an answer count {lowest}: {each}{more}."


def _specs(facts: JudgementFacts) -> Table:
    shown = facts.labels if len(facts.labels) <= MOST_LABELS else ()
    columns: Columns[JudgedSpec] = [
        (Column("spec", kind="name"), lambda one: one.name),
        (Column("model", kind="beneath", drop=4), lambda one: one.model),
        (
            Column(facts.measure, _unit(facts), short="mean" if facts.ordered else "share", hint=TERMS["Mean rating"]),
            lambda one: None if math.isnan(one.score.value) else one.score,
        ),
        (Column("group", least=5, hint=TERMS["Group"]), lambda one: one.group),
        *((Column(label, "percent", brief=1, drop=3), _share(label)) for label in shown),
        (Column("not rated", "percent", brief=2, hint=TERMS["Not rated"]), lambda one: one.unrated),
    ]
    if any(one.states.get("unanswered") for one in facts.specs):
        unanswered = Column("not answered", "count", short="not\nanswered", drop=2, hint=TERMS["Not answered"])
        columns = [*columns, (unanswered, lambda one: one.states.get("unanswered", 0))]
    return Table.of(facts.specs, columns, lambda one, cells: Row(cells, "first" if one is facts.preferred else ""))


def _share(label: str) -> Callable[[JudgedSpec], Interval]:
    return lambda one: one.shares[label]


def _pairs(facts: JudgementFacts, most: int) -> Table:
    columns: Columns[JudgedPair] = [
        (Column("better", kind="name"), lambda pair: pair.first),
        (Column("than", least=16), lambda pair: pair.second),
        (
            Column("difference", "gap"),
            lambda pair: None if math.isnan(pair.difference.value) else pair.difference,
        ),
        (Column("p, corrected", "p", short="p", hint=TERMS["p"]), lambda pair: pair.corrected),
        (Column("rows", "count", drop=1), lambda pair: pair.rows),
    ]
    shown = facts.pairs[:most]
    return Table.of(shown, columns, notes=left_out("pairs", len(facts.pairs), len(shown), first="first"))


def _rows(facts: JudgementFacts) -> Section:
    several = len(facts.to_look_at[0].answers) > 1
    first = "The rows on which specs are rated most differently, then those" if several else "The rows"
    specs = tuple(one.name for one in facts.specs)[: len(facts.to_look_at[0].answers)]
    rows = tuple(
        AnsweredRow(one.number, one.text, one.truth, tuple(map(_rated, one.answers))) for one in facts.to_look_at
    )
    intro = f"{first} rated lowest; the rating stands before the answer. Do you agree with them?"
    return Section("Answers", (intro, SideBySide(specs, rows, graded=True)))


def _rated(one: RatedAnswer) -> Answered:
    if not one.answer:
        return Answered("no answer", None)
    said = "" if one.said.strip() == one.label else one.said
    return Answered(f"[{one.label or 'not rated'}] {one.answer}", None, said)


def _people(facts: JudgementFacts, found: HumanAgreement) -> Iterator[Block]:
    title = metric_title(found.metric)
    rows = [Row((f"the judge with a person, {title}", found.judge))]
    if found.people is not None:
        rows.append(Row((f"people among themselves, {title}", found.people)))
    if found.difference is not None:
        rows.append(Row(("difference", found.difference), unit="gap"))
    if found.leniency is not None:
        rows.append(Row(("the judge's rating minus people's", found.leniency), unit="gap"))
    rows.append(Row(("rated answers", float(found.answers)), unit="count"))
    yield Table((Column("", kind="name"), Column("value", "share")), tuple(rows))
    if found.confusion:
        said = "A line holds the answers that people gave one rating, a column those that the judge gave one."
        yield Confusion("Ratings of people and of the judge", said, facts.labels, found.confusion, facts.ordered)

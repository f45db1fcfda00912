"""What an audit says, in sentences: how far off, how sure, whether the reported number chooses well, and why."""

from __future__ import annotations

from luthier.evaluation.agreement import Agreement, RowCounts
from luthier.evaluation.audits import Audit
from luthier.evaluation.decomposition import CHANGES, Attribution, Decomposition, Part
from luthier.evaluation.resampling import Interval
from luthier.evaluation.statistics import ALPHA
from luthier.reporting.numbers import interval, metric_title, number

__all__ = ["audit_sentences", "figure", "gap", "job_sentences"]


def figure(value: float | Interval) -> str:
    """A value to three places, with its bounds where it has any."""
    return interval(value, "fine")


def gap(value: float | Interval) -> str:
    """A difference with its sign, likewise."""
    return interval(value, "gap")


def audit_sentences(audit: Audit) -> list[str]:
    """What to take from an audit, most important first; plain text that may hold untrusted names."""
    out = [_mean(agreement) for agreement in audit.agreements]
    if audit.agreements:
        first = audit.agreements[0]
        out += [*([_rows(audit.rows, audit)] if audit.rows else []), _limits(first), *_level(first), *_choice(first)]
    for job in audit.attributions if len(audit.attributions) == 1 else ():
        out += job_sentences(job)
    return [*out, *audit.notes]


def job_sentences(job: Attribution) -> list[str]:
    """What to take from one job: how far its numbers are apart, and which change makes how much of it."""
    out = []
    for place, one in enumerate(job.decompositions):
        if place == 0 or any(_stands_out(part) for part in one.parts):
            out += [_apart(one), *_parts(one)]
    lost = job.conditions[-1].without_label
    if lost:
        out.append(
            f"{lost:,} of {job.conditions[-1].rows:,} rows got no label from the deployed model; they count as wrong."
        )
    return [*out, *job.notes]


def _mean(agreement: Agreement) -> str:
    found, count = agreement.difference, len(agreement.pairs.ids)
    low, high = sorted(abs(end) for end in (found.low or 0.0, found.high or 0.0))
    if agreement.t_p >= ALPHA:
        return (
            f"{metric_title(agreement.metric)}: over {count} models reported and measured values do not differ on "
            f"average, as far as these pairs can tell (mean difference {gap(found)}; p {_p(agreement.t_p)})."
        )
    way = "better" if agreement.flattering else "worse"
    signs = f"p {_p(agreement.p)} by the sign-flip test"
    if agreement.p >= ALPHA and 2 ** (1 - count) >= ALPHA:
        signs += f"; with {count} models this p cannot fall below {figure(2 ** (1 - count))}"
    return (
        f"{metric_title(agreement.metric)}: over {count} models the service reported {figure(abs(found.value))} {way} "
        f"than was measured (95% interval of the mean {figure(low)} to {figure(high)}; {signs})."
    )


def _rows(rows: RowCounts, audit: Audit) -> str:
    if rows.reported == rows.measured:
        return (
            f"Every reported and every measured {metric_title(rows.metric)} is a multiple of 1/{rows.reported:,}: "
            "perhaps both were measured on the same rows."
        )
    found = next(a for a in audit.agreements if a.metric == rows.metric)
    value = abs(found.difference.value)
    said = (
        f"They were not measured on the same rows: the reported {metric_title(rows.metric)} counts {rows.reported:,} "
        f"rows, the measured one {rows.measured:,}. By chance alone, two samples of these sizes give one model values "
        f"up to {figure(rows.chance)} apart, and all models share the same two samples"
    )
    if value <= rows.chance:
        return (
            f"{said}; so the rows may explain the mean difference of {figure(value)}. Measure on the service's own "
            "rows before you conclude that its number is wrong."
        )
    return f"{said}; the mean difference of {figure(value)} is larger than that."


def _limits(agreement: Agreement) -> str:
    return (
        f"For a single model, reported minus measured {metric_title(agreement.metric)} lies between "
        f"{gap(agreement.lower_limit.value)} and {gap(agreement.upper_limit.value)} in 95 of 100 cases."
    )


def _level(agreement: Agreement) -> list[str]:
    slope, p = agreement.slope, agreement.slope_p
    if slope is None or p is None:
        return []
    if p >= ALPHA:
        return ["The difference does not depend on how good the model is, as far as these pairs can tell."]
    return [
        f"The difference depends on the level: {gap(slope.value / 10)} for every .1 of "
        f"{metric_title(agreement.metric)} (p {_p(p)}), so no single correction fits all models."
    ]


def _choice(agreement: Agreement) -> list[str]:
    choice, order = agreement.choice, agreement.order
    chosen = choice.chosen[0] if len(choice.chosen) == 1 else f"one of {len(choice.chosen)} models reported alike"
    if choice.lost <= 0:
        end = f"which measured best too ({figure(choice.delivered)}, where {figure(choice.promised)} was promised)"
    else:
        end = (
            f"which measured {figure(choice.delivered)} where {figure(choice.promised)} was promised: "
            f"{figure(choice.lost)} short of the best, {choice.best}"
        )
    out = [
        f"Choosing by the reported {metric_title(agreement.metric)} selects {chosen}, {end}. A model drawn at random "
        f"is {figure(choice.lost_by_chance)} short of the best."
    ]
    if order is not None:
        right = f"{(1 + order.value) / 2:.0%}"
        end = ""
        if order.low is None:
            end = f" {len(agreement.pairs.ids)} models are too few to say whether this holds for others."
        elif order.high is not None and order.low <= 0 <= order.high:
            end = " The interval contains 0, so the two rankings may be unrelated."
        out.append(
            f"Given two models, the reported number ranks the better one first in about {right} of cases "
            f"(Kendall's tau {figure(order)}).{end}"
        )
    return out


def _apart(one: Decomposition) -> str:
    chance = (
        f" Chance alone puts two measurements on such rows up to {figure(one.noise)} apart." if one.noise > 0 else ""
    )
    return (
        f"{metric_title(one.metric)}: reported {figure(one.reported)}, measured {figure(one.measured)}: "
        f"{gap(one.difference)}.{chance}"
    )


def _parts(one: Decomposition) -> list[str]:
    sure = [part for part in one.parts if _stands_out(part)]
    if not sure:
        return [f"No single part of the difference in {metric_title(one.metric)} stands out from chance."]
    words = [f"{CHANGES[part.changes]} {gap(part.share)}" for part in sure]
    rest = one.difference - sum(part.share.value for part in sure)
    others = f" The other parts, none beyond chance, make {gap(rest)}." if len(sure) < len(one.parts) else ""
    return [f"Of that: {'; '.join(words)}.{others}"]


def _stands_out(part: Part) -> bool:
    if part.p is None:
        return abs(part.share.value) > 1e-9
    return part.p < ALPHA


def _p(value: float) -> str:
    text = number(value, "p")
    return text if text[0] in "<>" else f"= {text}"

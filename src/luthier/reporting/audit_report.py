"""An audit as tables, sentences and figures: for a terminal, a notebook and a page."""

from __future__ import annotations

from luthier.evaluation.agreement import Agreement
from luthier.evaluation.audits import Audit
from luthier.evaluation.decomposition import CHANGES, Attribution, Changed, Switch
from luthier.evaluation.resampling import Interval
from luthier.reporting.audit_figures import difference_strips, identity_chart, level_chart
from luthier.reporting.audit_sentences import audit_sentences, job_sentences
from luthier.reporting.numbers import metric_title, number
from luthier.reporting.table import (
    Bar,
    Block,
    Cell,
    Column,
    Columns,
    Example,
    Fold,
    Lines,
    Page,
    Row,
    Section,
    Table,
    glossary,
    left_out,
)

__all__ = ["agreement_table", "audit_page", "audit_sections", "parts_table"]

MOST_METRICS = 6
MOST_JOBS = 40
MOST_MODELS = 500

TERMS = {
    "Mean difference": "Reported minus measured, averaged over the models, with a 95% interval by Student's t. p is "
    "that of the sign-flip test.",
    "Limits of agreement": "Mean difference plus and minus 1.96 standard deviations: the differences of 95% of single "
    "models lie between them (Bland and Altman 1986).",
    "Tau": "Kendall's tau-b: 1 if reported and measured values rank the models alike, 0 if the rankings are unrelated.",
    "Concordance": "Lin's coefficient: how near the models lie to the identity line; a correlation is 1 on any line.",
    "Lost by choosing": "Best measured value minus the measured value of the model that the service says is best.",
}

LOST = {"No label": "The answer was none of the task's labels, was refused, or failed; it counts as wrong."}


def audit_sections(audit: Audit) -> tuple[Section, ...]:
    """The tables of an audit and what it says."""
    blocks: list[Block] = [agreement_table(audit)] if audit.agreements else []
    several = len(audit.attributions) > 1
    for job in audit.attributions:
        named = [] if job.name == audit.source else [f"{job.name}: from reported to measured"]
        blocks += [*named, parts_table(job), *([Lines(tuple(job_sentences(job)))] if several else [])]
    return (Section(f"{audit.source}: reported against measured", (*blocks, Lines(tuple(audit_sentences(audit))))),)


def agreement_table(audit: Audit) -> Table:
    """A row per metric over the models."""
    mean = "The interval of the mean (thick) and the limits of agreement (thin); the dotted line is 0."
    tau = "Kendall's tau of the order: 1 if both rank the models alike, 0 if unrelated."
    lost = "Best measured value minus that of the model the service says is best."
    columns: Columns[Agreement] = [
        (Column("metric", kind="name", least=18), lambda one: metric_title(one.metric)),
        (Column("models", "count", drop=2, hint="Models with both values."), lambda one: len(one.pairs.ids)),
        (Column("reported", "fine", hint="Mean of the service's values."), lambda one: one.reported_mean),
        (Column("measured", "fine", hint="Mean of what the deployed models did."), lambda one: one.measured_mean),
        (
            Column("difference", "gap", brief=7, hint="Mean of reported minus measured; a 95% interval over models."),
            lambda one: one.difference,
        ),
        (
            Column("", kind="bar", ticks=(0.0,), hint=mean),
            lambda one: Bar(one.difference, (one.lower_limit.value, one.upper_limit.value)),
        ),
        (
            Column("p", "p", drop=3, hint="Sign-flip test: how often chance alone shows a mean difference this large."),
            lambda one: one.p,
        ),
        (
            Column("limits", "gap", drop=6, hint="95% of the single differences lie between them."),
            lambda one: f"{number(one.lower_limit.value, 'gap')} to {number(one.upper_limit.value, 'gap')}",
        ),
        (Column("tau", "fine", brief=4, hint=tau), lambda one: one.order),
        (
            Column("concordance", "fine", drop=1, hint="Lin's: 1 only if every model is on the identity line."),
            lambda one: one.concordance,
        ),
        (Column("lost by choosing", "fine", short="lost", hint=lost), lambda one: one.choice.lost),
    ]
    return Table.of(audit.agreements, columns)


def parts_table(job: Attribution) -> Table:
    """From reported to measured, a row per part, a column per metric."""
    shown = job.decompositions
    first, *others = shown
    # The first metric is the most telling one, so the last gives way first, and the first never.
    columns = [Column("", kind="name", least=20), Column(metric_title(first.metric), "gap")]
    columns += [Column("", kind="bar", ticks=(0.0,), hint="The parts with their intervals; the dotted line is 0.")]
    columns += [Column(metric_title(one.metric), "gap", drop=len(others) - place) for place, one in enumerate(others)]
    rows = [Row(("reported", first.reported, None, *(one.reported for one in others)), "first", unit="fine")]
    for place, part in enumerate(first.parts):
        shares = [one.parts[place].share for one in shown]
        rows.append(Row((CHANGES[part.changes], shares[0], Bar(shares[0]), *shares[1:])))
    whole = Bar(Interval(first.difference))
    rows.append(
        Row(("reported minus measured", first.difference, whole, *(one.difference for one in others)), "", True)
    )
    rows.append(Row(("measured", first.measured, None, *(one.measured for one in others)), "first", unit="fine"))
    return Table(tuple(columns), tuple(rows))


def audit_page(audit: Audit) -> Page:
    """Everything an audit says. Example rows of its jobs are on the page, with their texts."""
    # Only what is on the page: a job by itself has no agreement over models.
    terms = (TERMS if audit.agreements else {}) | (LOST if audit.attributions else {})
    return Page(
        f"Audit: {audit.source}",
        "What the service reported against what was measured. Every difference is reported minus measured.",
        tuple(audit_sentences(audit)),
        (*_agreements(audit), *_why(audit), *([Section("Glossary", (glossary(terms),))] if terms else [])),
    )


def _agreements(audit: Audit) -> list[Section]:
    shown = audit.agreements[:MOST_METRICS]
    if not shown:
        return []
    over_models = (
        "The intervals are over the models: they speak of other models of this kind on the same rows. The thick bar is "
        "the interval of the mean difference, the thin one spans the limits of agreement, the dotted line is 0."
    )
    figures: list[Block] = [
        Section(metric_title(one.metric), ((identity_chart(one), level_chart(one)),)) for one in shown
    ]
    figures.append(Section("All differences", (difference_strips(shown),)))
    return [
        Section("Agreement", (over_models, agreement_table(audit))),
        Section("Figures", tuple(figures)),
        Section("Models", (f"The largest differences in {metric_title(shown[0].metric)} first.", _models(audit))),
    ]


def _models(audit: Audit) -> Table:
    """Reported and measured value of each model, in the order of the first metric's differences."""
    shown = audit.agreements[:MOST_METRICS]
    values = [
        {name: (said, found) for name, said, found in zip(a.pairs.ids, a.pairs.reported, a.pairs.measured, strict=True)}
        for a in shown
    ]
    columns = [Column("model", kind="name")]
    for one in shown:
        title = metric_title(one.metric)
        columns += [Column(f"{title}: reported", "fine"), Column("measured", "fine"), Column("difference", "gap")]

    def cells(name: str) -> tuple[Cell, ...]:
        pairs = [of.get(name) for of in values]
        return tuple(cell for two in pairs for cell in ((None,) * 3 if two is None else (*two, two[0] - two[1])))

    rows = [(name, *cells(name)) for name in dict.fromkeys(name for of in values for name in of)]
    rows.sort(key=lambda row: -abs(row[3]) if isinstance(row[3], float) else 0.0)
    return Table(tuple(columns), tuple(Row(row) for row in rows[:MOST_MODELS]))


def _why(audit: Audit) -> list[Section]:
    if not audit.attributions:
        return []
    intro = (
        "Between the service's value and the measured one stands a chain of conditions, each changing one thing. "
        "The parts add up to the whole difference. Where changes depend on each other, a part goes to the later one. A "
        "part whose interval contains 0 may be chance."
    )
    shown = audit.attributions[:MOST_JOBS]
    folds = [_job(audit, job, opened=len(shown) <= 3) for job in shown]
    return [Section("Why", (intro, *folds, *left_out("jobs", len(audit.attributions), len(shown), first="first")))]


def _job(audit: Audit, job: Attribution, *, opened: bool) -> Fold:
    said = [Lines(tuple(job_sentences(job)))] if len(audit.attributions) > 1 else []
    terms = [f"The service's terms: {job.reported.terms}"] if job.reported.terms else []
    columns = [Column("condition", kind="name"), Column("rows", "count"), Column("no label", "count")]
    columns += [Column(metric_title(one.metric), "fine") for one in job.decompositions]
    rows = tuple(
        Row((one.name, one.rows, one.without_label, *(one.metrics[part.metric] for part in job.decompositions)))
        for one in job.conditions
    )
    conditions = Section("Conditions", (Table(tuple(columns), rows),))
    return Fold(job.name, (*said, *terms, parts_table(job), conditions, *map(_switch, job.switches)), opened)


def _switch(switch: Switch) -> Section:
    counts = (
        f"{switch.turned:,} of {switch.rows:,} answers changed: {switch.lost:,} from right to wrong, {switch.won:,} "
        "from wrong to right."
    )
    return Section(CHANGES[switch.changes], (counts, *map(_changed, switch.examples)))


def _changed(one: Changed) -> Example:
    before, after = ("nothing usable" if p.label is None else p.label for p in (one.before, one.after))
    about = (f"row {one.row + 1}: true ", one.truth, ", answered ", before, ", then ", after)
    return Example(about, one.text, one.after.call.raw or "")

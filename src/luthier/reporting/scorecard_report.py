"""A scorecard as a page, a terminal report and Markdown: what a product owner reads in three minutes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from luthier.evaluation.abstention import CoveragePoint
from luthier.evaluation.cohorts import Cohort, CohortSearch
from luthier.evaluation.gates import Gate
from luthier.evaluation.groups import SensitiveColumn, SensitiveGroup
from luthier.evaluation.measures import measures_of
from luthier.evaluation.resampling import Interval
from luthier.evaluation.scorecard import Perturbation, ReportedMetric, Scorecard
from luthier.evaluation.text_features import TEXT_FEATURES
from luthier.reporting.abstention_figure import abstention_chart
from luthier.reporting.board_details import LABELS_INTRO, label_parts, parts_table
from luthier.reporting.board_figures import calibration_chart, confusion, points_chart, without_chart
from luthier.reporting.numbers import Unit, metric_title, number
from luthier.reporting.scorecard_sentences import (
    abstention_sentence,
    calibration_sentence,
    cohort_sentences,
    disparity_sentence,
    group_sentences,
    measured_gate,
    missing_hints,
    robustness_sentences,
    threshold_text,
    verdict,
)
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

__all__ = ["scorecard_page", "scorecard_sections"]

SHOWN = ("within_1", "calibration_error")
"""Metrics that are shown beside the headline of the task; the others are behind a fold."""

MOST_LABELS = 10
MOST_CHARACTERS = 120
"""Of labels in a list."""

MOST_GROUPS = 12
MOST_FOLDED = 200
MOST_POINTS = 12
MOST_COHORTS = 10

TERMS = {
    "95% interval": "The range after a figure. It contains the value on all rows of this kind for 95 of 100 such "
    "tables.",
    "Baseline": "The best answer that does not depend on the text, such as the most frequent label, for every row.",
    "Cohort": "Rows that share a property, such as long texts. It is found on one half of the rows and tested on the "
    "other, for several random splits, with a correction for all cohorts that were tried.",
    "Confidence": "The probability that the model gives the label it answers.",
    "Coverage": "The share of rows that is answered when rows below a threshold of confidence are left to people.",
    "Flip": "A changed text whose label differs from that of the unchanged text. At a temperature above 0 part of the "
    "flips is the model's own randomness.",
}


def scorecard_sections(card: Scorecard) -> tuple[Section, ...]:
    """The verdict and the tables behind it, for a terminal or a notebook."""
    first = Section(_title(card), (_lead(card), Lines(tuple(verdict(card)))))
    shown = (_metrics(card), _labels_without_truth(card), _cohorts(card), _groups(card), _robustness(card))
    rest = (_reported(card), _gates(card), _limits(card))
    return first, *(section for section in (*shown, *rest) if section is not None)


def scorecard_page(card: Scorecard, more: Sequence[Section] = ()) -> Page:
    """Everything a scorecard says.

    Args:
        card: what it shows.
        more: sections that follow the robustness of the model, such as rows with their explanations.
    """
    sections = (
        _model(card),
        _metrics(card),
        _labels_without_truth(card),
        _mistakes(card),
        _abstention(card),
        _cohorts(card),
        _groups(card),
        _robustness(card),
        *more,
        _reported(card),
        _gates(card),
        _limits(card),
        Section("Glossary", (glossary(_terms(card)),)),
    )
    shown = tuple(section for section in sections if section is not None)
    made = f"Made {card.created}. " if card.created else ""
    return Page(_title(card), _lead(card), tuple(verdict(card)), shown, f"{made}Rows sha256 {card.data.digest}.")


def _title(card: Scorecard) -> str:
    return f"Scorecard: {card.model.version or card.model.name}"


def _lead(card: Scorecard) -> str:
    model, data = card.model, card.data
    behind = "" if model.base_model == "none" else f" with {model.base_model}"
    return f"{model.name} ({model.technique}{behind}) on {data.rows:,} rows of {data.name}, task “{card.task.name}”."


def _metrics(card: Scorecard) -> Section | None:
    """Quality beside the baseline's, then money, time and what went wrong."""
    measures = measures_of(card.task)
    known = {name: one for name, one in card.metrics.items() if name in measures}
    quality = [name for name in known if measures[name].kind == "quality"]
    # A rate of 0 says that nothing happened.
    usual = {"rate": (0.0, 1.0), "cost": (0.0,)}
    other = [name for name in known if name not in quality and known[name].value not in usual[measures[name].kind]]
    headline = dict.fromkeys((card.task.kind.ranking(), *card.task.kind.headline, *SHOWN))
    first, more = ([name for name in quality if (name in headline) is shown] for shown in (True, False))
    if not quality and not other:
        return None
    bar = Column("dotted: baseline", kind="bar", range=(0.0, 1.0))
    columns: Columns[str] = [
        (Column("metric", kind="name", least=24), lambda name: measures[name].title),
        (Column("value", "share"), lambda name: known[name]),
        (bar, lambda name: _metric_bar(card, name)),
        (Column("baseline", "share", drop=2), lambda name: _constant(card, name)),
    ]

    def row(name: str, cells: tuple[Cell, ...]) -> Row:
        return Row(cells, unit=measures[name].format)

    blocks: list[Block] = []
    if quality:
        blocks.append(f"On {card.rows_evaluated:,} rows, with 95% intervals.")
        blocks.append(Table.of(first, columns, row))
    if more:
        blocks.append(Fold("More metrics", (Table.of(more, columns, row),)))
    if other:
        plain = [one for place, one in enumerate(columns) if place not in (2, 3)]
        blocks.append(Table.of(other, plain, row))
    return Section("Metrics", tuple(blocks))


def _metric_bar(card: Scorecard, name: str) -> Bar | None:
    """Drawn where it is a share of something; other metrics have no common scale."""
    found, constant = card.metrics[name], card.baseline.get(name)
    if measures_of(card.task)[name].format != "share" or found.value < 0 or (found.low or 0) < 0:
        return None
    return Bar(found, mark=constant.value if constant and constant.value >= 0 else None)


def _constant(card: Scorecard, name: str) -> float | None:
    found = card.baseline.get(name)
    return None if found is None else found.value


def _labels_without_truth(card: Scorecard) -> Section | None:
    """What was answered and how sure, where nothing is known of what is right."""
    data = card.data
    if data.labelled or not data.answers:
        return None
    blocks: list[Block] = [*_counted(data.answers, "label", "answers")]
    if data.confidences:
        total = sum(data.confidences)
        rows = tuple(
            Row((f"{10 * place}–{10 * place + 10}%", float(count), count / total))
            for place, count in enumerate(data.confidences)
            if count
        )
        head = (Column("confidence", kind="name"), Column("rows", "count"), Column("share", "percent"))
        blocks += ["How sure the answers say they are; without labels nothing shows whether that is true."]
        blocks.append(Table(head, rows))
    return Section("Answers", tuple(blocks))


def _mistakes(card: Scorecard) -> Section | None:
    """Confusion and calibration side by side, and each label's figures."""
    plots = card.plots
    if not plots.confusion:
        return _details(card)
    said = [_confusion_sentence(card)]
    figures: list[Block] = [confusion(card.task.labels, plots.confusion, "Confusion", ordered=card.task.ordered)]
    if plots.calibration:
        said.append(calibration_sentence(plots.calibration))
        drawn = calibration_chart(plots.calibration, card.model.name)
        figures.append(drawn if drawn is not None else without_chart(plots.calibration, card.model.name))
    table = parts_table(label_parts(card.task.labels, plots), "label")
    table = replace(table, notes=(*table.notes, LABELS_INTRO))
    return Section("Mistakes", (Lines(tuple(said)), *figures, Fold("Label by label", (table,))))


def _details(card: Scorecard) -> Section | None:
    """What there is of answers that are no labels: truth against answer, and how well each part was found."""
    kind, plots = card.task.kind, card.plots
    blocks: list[Block] = []
    if plots.points:
        blocks.append(points_chart(plots.points, "Truth and answer", kind.value_name))
    if plots.parts:
        blocks.append(Section(kind.parts_title, (parts_table(plots.parts, kind.part_name),)))
    if plots.calibration:
        drawn = calibration_chart(plots.calibration, card.model.name)
        drawn_or_said = drawn if drawn is not None else without_chart(plots.calibration, card.model.name)
        blocks += [calibration_sentence(plots.calibration), drawn_or_said]
    return Section("Answers and truth", tuple(blocks)) if blocks else None


def _confusion_sentence(card: Scorecard) -> str:
    labels = (*card.task.labels, "no label")
    cells = [
        (count, truth, labels[answer])
        for place, truth in enumerate(card.task.labels)
        for answer, count in enumerate(card.plots.confusion[place])
        if answer != place and count
    ]
    if not cells:
        return "Every answer is right."
    count, truth, answer = max(cells, key=lambda cell: cell[0])
    share = count / sum(card.plots.confusion[card.task.labels.index(truth)])
    return (
        f"The most frequent mistake is “{answer}” instead of “{truth}”, on {count:,} rows: "
        f"{number(share, 'percent')} of the rows of that label."
    )


def _abstention(card: Scorecard) -> Section | None:
    found = card.abstention
    if found is None:
        return None
    how = "To the right, more rows are left to people and fewer are answered."
    if found.advised is not None:
        how += (
            " The diamond is the advised threshold. It best separates right from wrong rows on one half of the table, "
            "and its figures are of the other half, so it may lie beside the curve."
        )
    columns: Columns[CoveragePoint] = [
        (Column("confidence of at least", kind="name"), lambda one: threshold_text(one)),
        (Column("rows answered", "percent"), lambda one: one.coverage),
        (Column("right of those", "percent"), lambda one: one.accuracy),
        (Column("wrong answers, of all rows", "percent"), lambda one: one.error_rate),
    ]
    step = max(1, -(-len(found.points) // MOST_POINTS))
    table = Table.of(found.points[::step], columns)
    figure = abstention_chart(found, how)
    return Section("When to ask a person", (abstention_sentence(found), figure, Fold("Thresholds", (table,))))


def _cohorts(card: Scorecard) -> Section | None:
    search = card.cohorts
    if search is None:
        return None
    confirmed = search.confirmed
    others = tuple(one for one in search.cohorts if not one.confirmed)
    blocks: list[Block] = [" ".join(cohort_sentences(search))]
    if confirmed:
        blocks.append(_cohort_table(confirmed, search))
    if others:
        unsure = "They looked worse on one half of the rows, and the other halves did not confirm it."
        blocks.append(Fold("Looked at and not confirmed", (unsure, _cohort_table(others, search))))
    if search.columns:
        blocks.append(
            f"Searched: {search.rows:,} rows by {', '.join(search.columns)}. {search.tested:,} groups were tried. "
            "They are found on one half of the rows and tested on the other, for several random splits; p is corrected "
            "for all groups that were tried. The figures are of a half that had no part in finding the group."
        )
    return Section("Where it is worst", (*blocks, *(search.notes and (Lines(search.notes),))))


def _cohort_table(cohorts: Sequence[Cohort], search: CohortSearch) -> Table:
    wrong = search.measure == "error rate"
    unit: Unit = "percent" if wrong else "number"
    columns: Columns[Cohort] = [
        (Column("rows where", kind="name", least=24), str),
        (Column("rows", "count", hint="In the half whose figures are shown."), lambda one: one.rows),
        (Column("wrong" if wrong else "distance", unit), lambda one: one.value),
        (Column("", kind="bar"), lambda one: Bar(one.value, mark=one.rest.value)),
        (Column("elsewhere", unit, brief=1), lambda one: one.rest),
        (Column("p", "p", hint="Corrected for all groups that were tried.", drop=2), lambda one: one.corrected),
    ]
    shown = cohorts[:MOST_COHORTS]
    return Table.of(shown, columns, notes=left_out("groups of rows", len(cohorts), len(shown), first="worst"))


def _groups(card: Scorecard) -> Section | None:
    columns = tuple(map(_group_section, card.sensitive))
    return Section("Fairness", columns) if columns else None


def _group_section(column: SensitiveColumn) -> Section:
    metrics = column.metrics
    columns: list[tuple[Column, Callable[[SensitiveGroup], Cell]]] = [
        (Column(column.column, kind="name", least=20), lambda one: one.name),
        (Column("rows", "count"), lambda one: one.rows),
    ]
    for place, (name, metric) in enumerate(metrics.items()):
        head = Column(metric.title, metric.format, hint=metric.description, brief=1, drop=2 + len(metrics) - place)
        columns.append((head if place else Column(head.title, head.unit, hint=head.hint), _group_metric(name)))
        if place == 0:
            columns.append((Column("", kind="bar"), _group_bar(name)))

    def row(one: SensitiveGroup, cells: tuple[Cell, ...]) -> Row:
        return Row(cells, "" if one.judged else "reference")

    said = [disparity_sentence(column, one) for one in column.disparities if one.confirmed]
    blocks: list[Block] = [Lines(tuple(said or group_sentences(column)))]
    shown = column.groups[:MOST_GROUPS]
    blocks.append(Table.of(shown, columns, row))
    if len(column.groups) > MOST_GROUPS:
        rest, count = column.groups[MOST_GROUPS:MOST_FOLDED], len(column.groups)
        notes = left_out("groups", count, min(count, MOST_FOLDED), first="largest")
        smaller = Table.of(rest, columns, row, notes)
        blocks.append(Fold(f"{count - MOST_GROUPS:,} smaller groups", (smaller,)))
    return Section(f"By {column.column}", (*blocks, *(column.notes and (Lines(column.notes),))))


def _group_metric(name: str) -> Callable[[SensitiveGroup], Cell]:
    return lambda one: one.metrics.get(name)


def _group_bar(name: str) -> Callable[[SensitiveGroup], Cell]:
    return lambda one: Bar(one.metrics[name]) if name in one.metrics else None


def _robustness(card: Scorecard) -> Section | None:
    if not card.perturbations:
        return None
    columns: Columns[Perturbation] = [
        (Column("change", kind="name", least=18), lambda one: one.kind),
        (Column("what is done", least=36, drop=1), lambda one: one.description),
        (Column("texts", "count", drop=4), lambda one: one.rows),
        (Column("label changed", "percent", short="flips", brief=3), lambda one: one.flips if one.rows else None),
        (Column("", kind="bar", range=(0.0, 0.0)), lambda one: Bar(one.flips) if one.rows else None),
    ]
    if any(one.to_target is not None for one in card.perturbations):
        columns = [*columns, (Column("did as told", "percent", short="told", brief=2), lambda one: one.to_target)]
    if any(one.left_out for one in card.perturbations):
        hint = "Texts that cannot be changed in this way, such as texts without long words for typos."
        columns = [*columns, (Column("left out", "count", hint=hint, drop=3), lambda one: one.left_out or None)]
    examples = [
        Example((f"{one.kind}: ", before, ", then ", after), f"{old}\n\n→ {new}")
        for one in card.perturbations
        for old, new, before, after in one.examples
    ]
    said = " ".join(robustness_sentences(card.perturbations))
    folds = [Fold("Texts whose label changed", tuple(examples))] if examples else []
    return Section("Robustness", (said, Table.of(card.perturbations, columns), *folds))


def _reported(card: Scorecard) -> Section | None:
    if not card.reported:
        return None
    columns: Columns[ReportedMetric] = [
        (Column("metric", kind="name"), lambda one: metric_title(one.metric)),
        (Column("reported by the service", "fine", short="reported"), lambda one: one.reported),
        (Column("measured", "fine"), lambda one: one.measured),
        (Column("", kind="bar"), lambda one: Bar(one.measured, mark=one.reported)),
    ]
    said = "What the service said when the model was fine-tuned, and what was measured on these rows."
    return Section("Reported against measured", (said, Table.of(card.reported, columns)))


def _gates(card: Scorecard) -> Section | None:
    if not card.gates:
        return None
    columns: Columns[Gate] = [
        (Column("requirement", kind="name"), lambda one: one.requirement),
        (Column("measured"), measured_gate),
        (Column("rows", "count"), lambda one: one.rows),
        (Column(""), lambda one: "passed" if one.passed else "missed"),
    ]
    return Section("Requirements", (Table.of(card.gates, columns),))


def _limits(card: Scorecard) -> Section | None:
    hint = missing_hints(card)
    blocks: list[Block] = [Lines(card.limits)] if card.limits else []
    return Section("Known limits", (*blocks, *([hint] if hint else []))) if blocks or hint else None


def _model(card: Scorecard) -> Section:
    """What the model is and is for, and the rows it was assessed on."""
    model, data, address = card.model, card.data, card.model.address
    states = ", ".join(
        f"{count:,} {state.replace('_', ' ')}" for state, count in data.states.items() if count and state != "ok"
    )
    facts = {
        "model": model.uri if model.version is None else f"{model.version} ({model.uri})",
        "technique": model.technique if model.base_model == "none" else f"{model.technique} with {model.base_model}",
        "reads": ", ".join(model.columns),
        "answers": _listed(card.task.labels) if card.task.labels else card.task.kind.value_name,
        "texts are sent to": {None: "nowhere: it answers by itself", "local": "this machine"}.get(address, address),
        "rows": f"{data.rows:,} of {data.name}, {data.labelled:,} labelled{states and f'; {states}'}",
    }
    digests = {
        "recipe and training rows": model.fitted_digest,
        "training rows": model.train_digest or "",
        "these rows": data.digest,
    }
    purpose = [model.purpose] if model.purpose else []
    labels = _counted(data.labels, "true label", "rows")
    folds = [Fold("Prompt", (Example((), model.prompt),))] if model.prompt else []
    return Section("Model and rows", (*purpose, _facts(facts), *labels, *folds, Fold("Digests", (_facts(digests),))))


def _counted(counts: Mapping[str, int], head: str, what: str) -> list[Block]:
    """Labels with their rows, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda one: -one[1])
    total = sum(count for _, count in ordered)
    bar = Column("", kind="bar", range=(0.0, 0.0))
    columns = (Column(head, kind="name"), Column(what, "count"), Column("share", "percent"), bar)
    rows = [
        Row((label, float(count), count / total, Bar(Interval(count / total, 0.0, count / total))))
        for label, count in ordered
    ]
    if not rows:
        return []
    more = [Fold(f"{len(rows) - MOST_LABELS:,} more labels", (Table(columns, tuple(rows[MOST_LABELS:])),))]
    return [Table(columns, tuple(rows[:MOST_LABELS])), *(more if len(rows) > MOST_LABELS else [])]


def _facts(facts: Mapping[str, str | None]) -> Table:
    rows = tuple(Row((name, value)) for name, value in facts.items() if value)
    return Table((Column("", kind="name"), Column("", least=40)), rows)


def _listed(labels: Sequence[str]) -> str:
    shown = [label for place, label in enumerate(labels) if sum(map(len, labels[: place + 1])) < MOST_CHARACTERS]
    shown = shown or list(labels[:1])
    more = f" and {len(labels) - len(shown):,} more" if len(labels) > len(shown) else ""
    return ", ".join(shown) + more


def _terms(card: Scorecard) -> dict[str, str]:
    unused = set() if card.baseline else {"Baseline"}
    unused |= set() if card.cohorts else {"Cohort"}
    unused |= set() if card.abstention else {"Coverage"}
    unused |= set() if card.plots.calibration or card.data.confidences else {"Confidence"}
    unused |= set() if card.perturbations else {"Flip"}
    terms = {term: meaning for term, meaning in TERMS.items() if term not in unused}
    measures = measures_of(card.task)
    quality = [measures[name] for name in card.metrics if name in measures and measures[name].kind == "quality"]
    terms |= {one.title: one.description for column in card.sensitive for one in column.metrics.values()}
    searched = card.cohorts.columns if card.cohorts else ()
    terms |= {name: TEXT_FEATURES[name] for name in searched if name in TEXT_FEATURES}
    return terms | {one.title: one.description for one in quality}

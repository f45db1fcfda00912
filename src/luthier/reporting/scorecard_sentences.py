"""What a scorecard says, in sentences: the verdict that a reader takes away."""

from __future__ import annotations

from luthier.evaluation.abstention import FEWEST_ROWS, Abstention, CoveragePoint
from luthier.evaluation.cohorts import Cohort, CohortSearch
from luthier.evaluation.gates import Gate
from luthier.evaluation.groups import Disparity, SensitiveColumn
from luthier.evaluation.measures import measures_of
from luthier.evaluation.resampling import Interval
from luthier.evaluation.scorecard import Perturbation, Scorecard
from luthier.reporting.numbers import interval, metric_title, number, printable
from luthier.tasks.types import CalibrationBin

__all__ = [
    "abstention_sentence",
    "calibration_sentence",
    "cohort_sentences",
    "disparity_sentence",
    "group_sentences",
    "measured_gate",
    "missing_hints",
    "robustness_sentences",
    "threshold_text",
    "verdict",
]

MISCALIBRATED = 0.05
"""Mean confidence this far from the share that is right is called over- or underconfident."""


def verdict(card: Scorecard) -> list[str]:
    """What to take from a scorecard, the most important first."""
    said = _quality(card) if card.data.labelled else _without_labels(card)
    said += cohort_sentences(card.cohorts) if card.cohorts is not None else []
    for column in card.sensitive:
        said += group_sentences(column)
    if card.abstention is not None:
        said.append(abstention_sentence(card.abstention))
    if card.plots.calibration:
        said.append(calibration_sentence(card.plots.calibration))
    said += robustness_sentences(card.perturbations)
    said += _reported(card)
    said += _gates(card.gates)
    if card.data.missing:
        left = f"{card.data.missing:,} of {card.data.rows:,} rows"
        said.append(f"{left} have no answer yet, for reasons that may pass. The figures are of the other rows.")
    # A mark in a name that turns the direction of writing would turn the rest of its sentence.
    return [printable(line) for line in said]


def missing_hints(card: Scorecard) -> str:
    """What was not asked for, with what to type; empty where nothing is left to ask."""
    hints = []
    if card.data.labelled and not card.sensitive:
        hints.append("fairness between groups (--sensitive COLUMN)")
    if card.task.labels and not card.perturbations:
        hints.append("robustness to typos and hidden instructions (--perturb N)")
    if card.data.labelled and not card.gates:
        hints.append("requirements to pass (gates: in the spec)")
    return f"Not asked for: {', '.join(hints)}." if hints else ""


def _quality(card: Scorecard) -> list[str]:
    if not card.task.labels:
        return _ranked(card)
    found = card.metrics.get("accuracy")
    if found is None:
        return ["No row has both a label and an answer, so nothing says how good the model is."]
    said = [f"Right on {_shares(found)} of {card.rows_evaluated:,} rows.{_against_constant(card)}"]
    if card.task.ordered:
        parts = []
        if "within_1" in card.metrics:
            parts.append(f"At most one step off on {_shares(card.metrics['within_1'])} of the rows")
        if "qwk" in card.metrics:
            parts.append(f"agreement on the scale (QWK) is {interval(card.metrics['qwk'], 'share')}")
        said.append("; ".join(parts) + "." if parts else "")
    return [line for line in said if line]


def _ranked(card: Scorecard) -> list[str]:
    """Of answers that are no labels: the metric that ranks, beside that of the best constant answer."""
    measures, name = measures_of(card.task), card.task.kind.ranking()
    found, constant = card.metrics.get(name), card.baseline.get(name)
    if found is None:
        return ["No row has both a truth and an answer, so nothing says how good the model is."]
    one = measures[name]
    said = f"{one.title} {interval(found, one.format)} on {card.rows_evaluated:,} rows ({one.better} is better)."
    if constant is None:
        return [said]
    note = card.task.kind.constant_note
    said += f" {note} for every row would reach {number(constant.value, one.format)}"
    if card.above_baseline is None:
        return [f"{said}."]
    return [f"{said}; the model is {'nearer to the truth' if card.above_baseline else 'not shown to be better'}."]


def _against_constant(card: Scorecard) -> str:
    constant = card.baseline.get("accuracy")
    if constant is None:
        return ""
    words = f" Always answering the most frequent label would be right on {number(constant.value, 'percent')}"
    if card.above_baseline is None:
        return f"{words}."
    return f"{words}; the model is {'better' if card.above_baseline else 'not shown to be better'}."


def _without_labels(card: Scorecard) -> list[str]:
    answers = sorted(card.data.answers.items(), key=lambda one: -one[1])[:3]
    total = sum(card.data.answers.values())
    said = ["The table has no labels, so nothing says how good the answers are."]
    if answers:
        shares = ", ".join(f"“{label}” {number(count / total, 'percent')}" for label, count in answers)
        said.append(f"Most frequent answers among {total:,} rows: {shares}.")
    lost = card.data.rows - card.data.states.get("ok", 0)
    if lost:
        said.append(f"{lost:,} of {card.data.rows:,} rows have no answer: off label, refused, failed or empty.")
    return said


def cohort_sentences(search: CohortSearch) -> list[str]:
    """The worst confirmed cohort, or that there is none."""
    if not search.confirmed:
        if not search.columns:
            return ["No groups of rows were searched for one that is worse."]
        if not search.tested:
            return ["No group of rows stood out as worse than the rest."]
        return [
            f"No group of rows is confirmed to be worse than the rest; {search.tested:,} "
            f"{'was' if search.tested == 1 else 'were'} tested."
        ]
    worst, *others = search.confirmed
    more = f" {len(others):,} more such group{'s are' if len(others) > 1 else ' is'} confirmed." if others else ""
    return [f"Worst where {worst}: {_cohort_figures(worst, search)}.{more}"]


def _cohort_figures(cohort: Cohort, search: CohortSearch) -> str:
    if search.measure == "error rate":
        rest = number(cohort.rest.value, "percent")
        return f"{_shares(cohort.value)} of these rows are wrong, against {rest} elsewhere"
    rest = number(cohort.rest.value, "number")
    return f"answers are {interval(cohort.value, 'number')} from the truth on average, against {rest} elsewhere"


def group_sentences(column: SensitiveColumn) -> list[str]:
    """What differs between the groups of a column, or that nothing is confirmed to."""
    if not column.disparities:
        return [f"Groups of {column.column} are not compared: fewer than two have {column.smallest:,} rows."]
    judging = [one for one in column.disparities if column.metrics[one.metric].better is not None]
    confirmed = [one for one in judging if one.confirmed] or [one for one in column.disparities if one.confirmed]
    if confirmed:
        return [disparity_sentence(column, confirmed[0])]
    first = (judging or list(column.disparities))[0]
    metric = column.metrics[first.metric]
    apart = interval(first.difference, metric.format)
    return [f"No difference between groups of {column.column} is confirmed; in {metric.title} they are {apart} apart."]


def disparity_sentence(column: SensitiveColumn, one: Disparity) -> str:
    """How far the groups of a column are apart in one metric."""
    metric = column.metrics[one.metric]
    values = {group.name: group.metrics[one.metric].value for group in column.groups if one.metric in group.metrics}
    ends = ("best", "worst") if metric.better is not None else ("highest", "lowest")
    high, low = (
        f"{end} for “{name}” ({number(values[name], metric.format)})"
        for end, name in zip(ends, (one.best, one.worst), strict=True)
    )
    apart = interval(one.difference, metric.format)
    return f"By {column.column}, {metric.title} differs: {high}, {low}; they are {apart} apart."


def threshold_text(point: CoveragePoint) -> str:
    """A threshold, as it is to be typed.

    Examples:
        >>> from luthier.evaluation.resampling import Interval
        >>> threshold_text(CoveragePoint(0.875, Interval(0.5), Interval(0.9), 0.05))
        '0.875'
    """
    return f"{point.threshold:g}"


def abstention_sentence(found: Abstention) -> str:
    """Whether confidence can be used, and from where on."""
    advised, everything = found.advised, found.everything
    if advised is None or everything is None:
        if all(point.accuracy.value == 1.0 for point in found.points):
            return "Every row is right, so no threshold of confidence can be advised."
        if found.rows < FEWEST_ROWS:
            return f"{found.rows:,} rows with a confidence are too few to advise a threshold; it takes {FEWEST_ROWS}."
        if found.gain_p < 0.05:
            return (
                "Right rows are stated with more confidence than wrong ones, but no threshold is advised: none proved "
                "itself on rows that had no part in choosing it."
            )
        return "Confidence is not shown to tell right rows from wrong ones: do not leave rows out by it."
    return (
        f"Confidence helps: if only rows with a confidence of at least {threshold_text(advised)} are answered, that is "
        f"{_shares(advised.coverage)} of the rows, and {_shares(advised.accuracy)} of those are right instead of "
        f"{number(everything.accuracy.value, 'percent')}; the others need a person."
    )


def calibration_sentence(bins: tuple[CalibrationBin, ...]) -> str:
    """Whether the stated confidence is what it says, on average."""
    rows = sum(one.rows for one in bins)
    said = sum(one.rows * one.confidence for one in bins) / rows
    right = sum(one.rows * one.accuracy for one in bins) / rows
    figures = f"{number(said, 'percent')} on average, and {number(right, 'percent')} of the answers are right"
    if said - right > MISCALIBRATED:
        return f"The model is overconfident: it states {figures}."
    if right - said > MISCALIBRATED:
        return f"The model is underconfident: it states {figures}."
    return f"The stated confidence is about right: {figures}."


def robustness_sentences(kinds: tuple[Perturbation, ...]) -> list[str]:
    """The change that flips the most labels, and whether instructions in a text are followed."""
    said = []
    harmless = [one for one in kinds if one.to_target is None and one.rows]
    if harmless:
        worst = max(harmless, key=lambda one: one.flips.value)
        said.append(
            f"Of the changes that should not matter, “{worst.kind}” changes the most labels: {_shares(worst.flips)} of "
            f"{worst.rows:,} texts."
            if worst.flips.value
            else f"No change that should not matter changed a label ({', '.join(one.kind for one in harmless)})."
        )
    for one in kinds:
        if one.to_target is not None and one.rows:
            said.append(
                f"An instruction hidden in the text is followed in {_shares(one.to_target)} of {one.rows:,} texts."
            )
    return said


def _reported(card: Scorecard) -> list[str]:
    measures = measures_of(card.task)
    said = []
    for one in card.reported:
        measure = measures.get(one.metric)
        if measure is None or one.measured.low is None or one.measured.high is None:
            continue
        beyond = one.reported > one.measured.high if measure.better == "higher" else one.reported < one.measured.low
        if beyond:
            said.append(
                f"The service reported {metric_title(one.metric)} {number(one.reported, measure.format)}, better than "
                f"the {interval(one.measured, measure.format)} that was measured."
            )
    if card.reported and not said:
        said.append("None of the figures that the service reported is better than what was measured.")
    return said[:1]


def _gates(gates: tuple[Gate, ...]) -> list[str]:
    if not gates:
        return []
    missed = [gate for gate in gates if not gate.passed]
    if not missed:
        return [f"Meets {'its requirement' if len(gates) == 1 else f'all {len(gates)} requirements'}."]
    named = ", ".join(f"{gate.requirement} ({measured_gate(gate)})" for gate in missed)
    return [f"Misses {len(missed)} of {len(gates)} requirement{'s' if len(gates) > 1 else ''}: {named}."]


def measured_gate(gate: Gate) -> str:
    """The figure of a gate with as many digits as it takes to see on which side it is."""
    return "not measured" if gate.measured is None else f"{gate.measured:.4g}"


def _shares(found: Interval) -> str:
    return interval(found, "percent")

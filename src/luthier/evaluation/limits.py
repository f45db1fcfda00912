"""The known limits of an assessment: what its figures do not show, as sentences that are true of this one."""

from __future__ import annotations

from luthier.evaluation.scorecard import Scorecard

__all__ = ["known_limits"]

FEW_ROWS = 200
"""Below this the interval of an accuracy is wider than 14 points."""

FEW_OF_A_LABEL = 20
MOST_NAMED = 5

NON_ASCII = 0.05
"""Share of a text's characters from which on it is not plain English."""

EMBEDDED = "smollm2-135m-instruct"
"""The language model that Luthier brings along."""


def known_limits(card: Scorecard) -> tuple[str, ...]:
    """The limits that apply, the gravest first.

    Args:
        card: everything else that the scorecard says; its own `limits` are not read.
    """
    return (*_of_rows(card), *_of_probabilities(card), *_of_model(card), *_of_data(card), *_not_asked(card))


def _of_rows(card: Scorecard) -> list[str]:
    data, rows = card.data, card.rows_evaluated
    found = []
    if not data.labelled:
        found.append("The table has no labels: nothing here says how good the answers are.")
    elif data.labelled < data.rows:
        found.append(f"{data.rows - data.labelled:,} of {data.rows:,} rows have no label and are in no metric.")
    if data.missing:
        found.append(f"{data.missing:,} of {data.rows:,} rows have no answer yet and are in no figure.")
    if data.states.get("empty"):
        found.append(f"{data.states['empty']:,} rows have no text and were not sent.")
    if 0 < rows < FEW_ROWS:
        found.append(f"{rows:,} rows are few: shares of them are uncertain by up to {98 / rows**0.5:.0f} points.")
    if data.labelled:
        rare = [label for label in card.task.labels if data.labels.get(label, 0) < FEW_OF_A_LABEL]
        if rare:
            named = ", ".join(f"“{label}” ({data.labels.get(label, 0):,})" for label in rare[:MOST_NAMED])
            more = f" and {len(rare) - MOST_NAMED:,} more labels" if len(rare) > MOST_NAMED else ""
            found.append(f"Little is known about labels with fewer than {FEW_OF_A_LABEL} rows: {named}{more}.")
    return found


def _of_probabilities(card: Scorecard) -> list[str]:
    if not card.task.labels:
        return []
    if not card.data.confidences:
        return ["The model gives no probabilities, so confidence and thresholds cannot be judged."]
    found = []
    covered, censored = card.metrics.get("probability_coverage"), card.metrics.get("censored_rate")
    if covered is not None and covered.value < 1:
        found.append(f"{1 - covered.value:.1%} of the answers come without probabilities.")
    if censored is not None and censored.value > 0:
        found.append(
            f"On {censored.value:.1%} of the rows a label is missing among the log-probabilities that the service "
            "returned, so the confidence is approximate there."
        )
    return found


def _of_model(card: Scorecard) -> list[str]:
    found = []
    if card.model.base_model == EMBEDDED:
        found.append("The embedded model is a toy for trying things out; do not decide anything by its figures.")
    if card.data.labelled and card.model.train_digest is not None:
        found.append("Whether test rows were also training rows was not checked; rows seen in training look better.")
    if card.model.address not in (None, "local"):
        found.append(
            "The service may change the model behind this address; the figures hold for the answers of today. Whether "
            "the test rows were part of its training is not known."
        )
    return found


def _of_data(card: Scorecard) -> list[str]:
    found = ["The rows are one table from one time; other sources and later texts may differ."]
    if card.data.non_ascii >= NON_ASCII:
        found.append(
            f"{card.data.non_ascii:.0%} of the characters are not ASCII; languages and scripts were not judged apart."
        )
    return found


def _not_asked(card: Scorecard) -> list[str]:
    found = []
    if card.data.labelled and not card.sensitive:
        found.append("No sensitive column was given, so nothing is known of fairness between groups of people.")
    unanswered = sum(one.unanswered for one in card.perturbations)
    if unanswered:
        found.append(f"{unanswered:,} changed texts have no answer and are in no flip rate.")
    if card.task.labels and not card.perturbations:
        found.append("No changed texts were asked, so nothing is known of typos or of instructions hidden in a text.")
    return found

"""What others call metrics: the columns of their tables and the keys of their figures, and Luthier's names for them."""

from __future__ import annotations

import re

__all__ = ["MEASURED", "REPORTED", "lower_is_better", "metric_name"]

REPORTED = re.compile(r"^(?:classification|reported|service)[/_.\- ]+(.+)$|^(.+)[/_.\- ]+reported$", re.I)
MEASURED = re.compile(r"^(?:test|measured)[/_.\- ]+(.+)$|^(.+)[/_.\- ]+measured$", re.I)

KNOWN = {
    "acc": "accuracy",
    "f1": "weighted_f1",
    "f1_score": "weighted_f1",
    "f1_weighted": "weighted_f1",
    "weighted_f1_score": "weighted_f1",
    "f1_macro": "macro_f1",
    "macro_f1_score": "macro_f1",
    "precision": "weighted_precision",
    "recall": "weighted_recall",
}
"""Common names of our metrics. A plain F1 over several labels is nearly always the weighted one."""

LOWER = re.compile(
    r"(^|_)(loss|error|err|mse|rmse|mae|mape|brier|ece|perplexity|nll|wer|cer|regret|cost|price|usd|latency|seconds|ms|"
    r"time|duration|runtime|tokens)(_|$)"
)
"""Parts of the names of figures of which less is better."""


def metric_name(column: str) -> str:
    """The metric of a column or of a service's key, by Luthier's name where it has one.

    Examples:
        >>> metric_name("classification/weighted_f1_score"), metric_name("test_f1"), metric_name("reported_auroc")
        ('weighted_f1', 'weighted_f1', 'auroc')
    """
    for side in (REPORTED, MEASURED):
        found = side.match(column.strip())
        if found:
            column = found[1] or found[2]
            break
    plain = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
    return KNOWN.get(plain, plain)


def lower_is_better(column: str) -> bool:
    """Whether the name of a figure says that less of it is better.

    Examples:
        >>> lower_is_better("eval/loss"), lower_is_better("accuracy"), lower_is_better("test_rmse")
        (True, False, True)
    """
    return LOWER.search(re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")) is not None

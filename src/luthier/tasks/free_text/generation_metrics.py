"""Written texts held against references: exact match, chrF and ROUGE, as numbers per row that can be summed.

chrF of a table is not the mean over its rows: n-grams are counted over all of them, as `sacrebleu.corpus_chrf` does.
So a row has counts, and the metric is computed from their sums.
"""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from luthier.errors import MissingPart
from luthier.tasks.spellings import same_text
from luthier.tasks.types import Floats, Measure

if TYPE_CHECKING:
    from sacrebleu.metrics import CHRF

__all__ = ["GENERATION_METRICS", "RowFigures", "check_packages", "corpus_metrics", "row_figures", "sums_of"]

GENERATION_METRICS: dict[str, Measure] = {
    "chrf1": Measure(
        "chrF1",
        "higher",
        "number",
        "F1 of the character n-grams (1 to 6) that answers share with their references; 0 to 100.",
    ),
    "chrf": Measure(
        "chrF",
        "higher",
        "number",
        "The same with recall counting twice, as chrF is usually reported: long answers do better in it; 0 to 100.",
    ),
    "rouge_1": Measure("ROUGE-1", "higher", "share", "F1 of the words that an answer shares with its reference."),
    "rouge_2": Measure("ROUGE-2", "higher", "share", "F1 of the pairs of words in a row that both have."),
    "rouge_l": Measure("ROUGE-L", "higher", "share", "F1 of the longest sequence of words that both have in order."),
    "exact_match": Measure(
        "exact",
        "higher",
        "share",
        "Share of rows whose answer is a reference, apart from upper and lower case and white space.",
        is_share=True,
    ),
}
"""The first one ranks a leaderboard. It is not the usual chrF, in which a copy of the whole text beats a short answer
that is half right: on subject lines of messages 38 to 27, and by F1 25 to 29."""

PACKAGES = ("sacrebleu", "rapidfuzz")
ORDERS = range(1, 7)
"""Lengths of the n-grams of chrF."""
BETAS = {"chrf1": 1, "chrf": 2}
"""How many times as much as precision recall counts."""
WORD = re.compile(r"[^\W_]+")
"""Letters and digits of any script. On ASCII these are the words of the package rouge-score, which drops others."""


class RowFigures(NamedTuple):
    """An answer held against the references of its row.

    Attributes:
        counts: n-grams of the answer, of the reference and of both, for each of `ORDERS`; for each of `BETAS`, as the
            reference is the one that is best by it.
        chrf1: of this row alone, 0 to 1.
        rouge: ROUGE-1, -2 and -L, 0 to 1.
        exact: whether it is one of the references.
    """

    counts: tuple[tuple[int, ...], ...]
    chrf1: float
    rouge: tuple[float, float, float]
    exact: bool


def check_packages() -> None:
    """Raises `MissingPart` where a package that computes these metrics is not installed."""
    lacking = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if lacking:
        raise MissingPart(
            f"judging texts needs {' and '.join(lacking)}, which {'is' if len(lacking) == 1 else 'are'} not installed; "
            "type: pip install 'luthier[generation]'."
        )


@lru_cache(maxsize=50_000)
def row_figures(references: tuple[str, ...], answer: str) -> RowFigures:
    """Of several references each metric takes the one that is best for it.

    Args:
        references: at least one.
        answer: the text; empty where there is none.

    Examples:
        >>> found = row_figures(("Parcel lost in transit", "Lost parcel"), "lost parcel")
        >>> found.exact, found.rouge
        (True, (1.0, 1.0, 1.0))
    """
    counts = _counted(references, answer)
    said = _words(answer)
    rouges = [_rouge(_words(reference), said) for reference in references]
    one, two, longest = (max(found) for found in zip(*rouges, strict=True))
    exact = same_text(answer) in map(same_text, references)
    return RowFigures(counts, _sacrebleu(1)._compute_f_score(counts[0]) / 100, (one, two, longest), exact)


def sums_of(figures: Sequence[RowFigures]) -> dict[str, Floats]:
    """What `corpus_metrics` needs of each row, shape (rows,)."""
    import numpy as np

    counts = np.array([row.counts for row in figures], dtype=float).reshape(len(figures), -1)
    names = [f"{name}_{what}_{order}" for name in BETAS for order in ORDERS for what in ("answered", "true", "shared")]
    sums = {name: counts[:, place] for place, name in enumerate(names)}
    for place, name in enumerate(("rouge_1", "rouge_2", "rouge_l")):
        sums[name] = np.array([row.rouge[place] for row in figures])
    return sums | {"exact": np.array([row.exact for row in figures], dtype=float)}


def corpus_metrics(sums: Mapping[str, Floats]) -> dict[str, Floats]:
    """The metrics of `GENERATION_METRICS`.

    Args:
        sums: `rows` and those of `sums_of`, shape (samples,).
    """
    rows = sums["rows"]
    means = {name: sums[name] / rows for name in ("rouge_1", "rouge_2", "rouge_l")}
    chrfs = {name: 100 * _chrf(sums, name, beta**2) for name, beta in BETAS.items()}
    return {**chrfs, **means, "exact_match": sums["exact"] / rows}


def _chrf(sums: Mapping[str, Floats], name: str, weight: int) -> Floats:
    """F of the mean precision and the mean recall over the orders that both sides have n-grams of."""
    import numpy as np

    precision = recall = orders = np.zeros_like(sums["rows"])
    for order in ORDERS:
        answered, true, shared = (sums[f"{name}_{what}_{order}"] for what in ("answered", "true", "shared"))
        both = (answered > 0) & (true > 0)
        precision = precision + np.where(both, shared / np.maximum(answered, 1), 0)
        recall = recall + np.where(both, shared / np.maximum(true, 1), 0)
        orders = orders + both
    precision, recall = precision / np.maximum(orders, 1), recall / np.maximum(orders, 1)
    below = weight * precision + recall
    found: Floats = np.where(below > 0, (1 + weight) * precision * recall / np.where(below > 0, below, 1), 0)
    return found


def _counted(references: tuple[str, ...], answer: str) -> tuple[tuple[int, ...], ...]:
    # sacrebleu offers no public way to the counts of a segment; a test holds the metrics equal to its corpus_chrf.
    counting = _sacrebleu(1)
    each = [
        tuple(counting._compute_segment_statistics(answer, counting._extract_reference_info([reference])))
        for reference in references
    ]
    return tuple(max(each, key=_sacrebleu(beta)._compute_f_score) for beta in BETAS.values())


@cache
def _sacrebleu(beta: int) -> CHRF:
    check_packages()
    from sacrebleu.metrics import CHRF

    return CHRF(beta=beta)


def _words(text: str) -> list[str]:
    return WORD.findall(unicodedata.normalize("NFC", text).lower())


def _rouge(true: list[str], said: list[str]) -> tuple[float, float, float]:
    from rapidfuzz.distance import LCSseq

    one, two = (_shared(_runs(true, size), _runs(said, size)) for size in (1, 2))
    return one, two, _f1(LCSseq.similarity(true, said), len(true), len(said))


def _runs(words: list[str], size: int) -> Counter[Any]:
    return Counter(zip(*(words[place:] for place in range(size)), strict=False))


def _shared(true: Counter[Any], said: Counter[Any]) -> float:
    return _f1((true & said).total(), true.total(), said.total())


def _f1(shared: int, true: int, said: int) -> float:
    return 2 * shared / (true + said) if shared else 0.0

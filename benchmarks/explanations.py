"""Leaving one passage out against Shapley values of words and of passages: agreement, and calls per row.

    python benchmarks/explanations.py [--yelp FOLDER] [--only linear|prompt] [--rows 30] [--evaluations 2000]

Word SHAP: Shapley values of the words, estimated from random orders of the words and their reverses (what
`shap.PermutationExplainer` does), summed over the words of each passage. It is estimated twice: the agreement of the
two says how much of it is noise, against which any other method is measured. Passage Shapley: over all 2^n sets of
passages, exact, on rows of at most 6 passages. Agreement is about the probability of the predicted label: Pearson's
correlation over the passages of a row, averaged over rows, and the share of rows with the same strongest passage.
Rows have at least 3 passages.

`linear` is `lt.Baseline` on 2,000 training rows. `prompt` is models/stars-zero-shot.yaml, SmolLM2-135M on the embedded
server, which takes 0.3 s a call on one core: give it fewer and shorter rows, as in
`--only prompt --rows 9 --evaluations 100 --most-words 50`.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

import luthier as lt
from luthier.engine.engine import Engine
from luthier.journal.journal import Journal
from luthier.responsible_ai.explanations import ChosenRow, ExplainedRows
from luthier.responsible_ai.passages import passages_of
from luthier.spec import Fitted
from luthier.tasks.task import Rows

Floats = npt.NDArray[np.float64]
Ask = Callable[[Sequence[str]], Floats]
"""Probabilities of the labels, shape (texts, labels)."""

NOTHING = "..."
"""What is asked for a text without any of its words, as SHAP's masker of texts does."""

YELP = Path(__file__).resolve().parents[2] / "shared" / "data" / "yelp"
SYSTEM = "How does the writer of each text feel about it? Answer with one word: {{ words | join(', ') }}."
WORDS = {"1": "terrible", "2": "poor", "3": "okay", "4": "good", "5": "excellent"}
ANSWER = {"method": "score", "words": WORDS, "calibration_rows": 20}
"""As in models/stars-zero-shot.yaml."""

MOST_EXACT = 6
"""Passages of a row whose exact Shapley values are computed, from up to 64 texts."""


def word_shap(ask: Ask, text: str, label: int, evaluations: int, generator: np.random.Generator) -> Floats:
    """Word SHAP, summed by passage; as many pairs of orders as fit, at least one."""
    passages = [passage.split() for passage in passages_of(text)]
    words = [word for passage in passages for word in passage]
    owner = np.repeat(np.arange(len(passages)), [len(passage) for passage in passages])
    pairs = max(1, evaluations // (2 * len(words)))
    orders = [order for _ in range(pairs) for order in _with_reverse(generator.permutation(len(words)))]
    texts = []
    for order in orders:
        kept = np.zeros(len(words), dtype=bool)
        for word in order:
            kept[word] = True
            texts.append(" ".join(itertools.compress(words, kept)))
    chances = ask(texts)[:, label].reshape(len(orders), len(words))
    gains = np.diff(np.c_[np.full(len(orders), ask([NOTHING])[0, label]), chances], axis=1)
    found = np.zeros(len(passages))
    for order, gain in zip(orders, gains, strict=True):
        np.add.at(found, owner[order], gain)
    return found / len(orders)


def _with_reverse(order: npt.NDArray[np.int_]) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    return order, order[::-1]


def passage_shapley(ask: Ask, text: str, label: int) -> Floats:
    """Exact Shapley values of the passages, from every set of them."""
    passages = passages_of(text)
    count = len(passages)
    sets = list(itertools.product((False, True), repeat=count))
    chances = ask(["".join(itertools.compress(passages, kept)).strip() for kept in sets])[:, label]
    value = dict(zip(sets, chances, strict=True))
    found = np.zeros(count)
    for kept in sets:
        size = sum(kept)
        for place in range(count):
            if not kept[place]:
                weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                found[place] += weight * (value[(*kept[:place], True, *kept[place + 1 :])] - value[kept])
    return found


def asker(fitted: Fitted, engine: Engine) -> Ask:
    """Asks a fitted spec for each different text once."""

    def ask(texts: Sequence[str]) -> Floats:
        distinct = list(dict.fromkeys(text.strip() or NOTHING for text in texts))
        rows = Rows(tuple({"text": text} for text in distinct), (None,) * len(distinct), "text")
        predictions = engine.drive(fitted.predict(rows), fitted.spec.endpoint)
        known = {text: one.scores for text, one in zip(distinct, predictions, strict=True)}
        no_label = (0.0,) * len(fitted.spec.task.labels)
        return np.array([known[text.strip() or NOTHING] or no_label for text in texts])

    return ask


def left_out(fitted: Fitted, engine: Engine, text: str) -> tuple[Floats, int] | None:
    """The weights as `luthier rai` computes them, and the questions that takes, the whole text among them.

    `None` where a text got no label.
    """
    rows = Rows(({"text": text},), (None,), "text")
    whole = engine.drive(fitted.predict(rows), fitted.spec.endpoint)
    explained = ExplainedRows(fitted.spec.task, rows, [ChosenRow(0, "")])
    found = explained.explanations(whole, engine.drive(fitted.predict(explained.rows), fitted.spec.endpoint))
    if not found or None in found[0].for_prediction:
        return None
    return np.array(found[0].for_prediction, dtype=float), 1 + len(explained.rows)


def agreement(one: Sequence[Floats], other: Sequence[Floats]) -> str:
    """How much two methods agree, in a line."""
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(one, other, strict=True) if a.std() and b.std()]
    same = np.mean([np.abs(a).argmax() == np.abs(b).argmax() for a, b in zip(one, other, strict=True)])
    return f"correlation {np.mean(correlations):.2f}, same strongest passage {same:.2f}  ({len(one)} rows)"


def compare(name: str, fitted: Fitted, texts: Sequence[str], evaluations: int) -> None:
    """Prints the agreement of the methods on these texts."""
    engine = Engine(Journal.in_memory())
    ask, generator = asker(fitted, engine), np.random.default_rng(7)
    found = {text: weighed for text in texts if (weighed := left_out(fitted, engine, text)) is not None}
    texts = list(found)
    ours = [weights for weights, _ in found.values()]
    calls = [count for _, count in found.values()]
    labels = [int(ask([text])[0].argmax()) for text in texts]
    print(f"{name}: {len(texts)} rows, leaving one out takes {np.mean(calls):.1f} calls a row, at most {max(calls)}")
    short = [place for place, weights in enumerate(ours) if len(weights) <= MOST_EXACT]
    exact = [passage_shapley(ask, texts[place], labels[place]) for place in short]
    print(f"  one left out ~ exact passage Shapley   {agreement([ours[p] for p in short], exact)}", flush=True)
    first, second = (
        [word_shap(ask, text, label, evaluations, generator) for text, label in zip(texts, labels, strict=True)]
        for _ in range(2)
    )
    both = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    print(f"  one left out ~ word SHAP {evaluations:,}           {agreement(ours, first)}")
    print(f"  one left out ~ the mean of two runs    {agreement(ours, both)}")
    print(f"  word SHAP ~ word SHAP, another run     {agreement(first, second)}")
    print(f"  word SHAP ~ exact passage Shapley      {agreement([both[p] for p in short], exact)}", flush=True)


def main() -> None:
    """Runs the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yelp", type=Path, default=YELP)
    parser.add_argument("--only", choices=["linear", "prompt"])
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--most-words", type=int, default=10_000, help="of a row")
    given = parser.parse_args()
    train = pd.read_csv(given.yelp / "train.csv").head(2000)
    test = pd.read_csv(given.yelp / "test.csv").sample(frac=1, random_state=7)
    task = lt.Task("stars", type="rating", text="text", label="stars", labels=[1, 2, 3, 4, 5])
    usable = [t for t in test["text"] if len(passages_of(t)) >= 3 and len(t.split()) <= given.most_words]
    texts = usable[: given.rows]
    engine = Engine(Journal.in_memory())
    if given.only != "prompt":
        fitted = engine.drive(lt.Baseline(task).fit(task.rows(train, labelled=True)), None)
        compare("linear", fitted, texts, given.evaluations)
    if given.only != "linear":
        spec = lt.Prompt(task, "Text: {{ text }}\nAnswer:", system=SYSTEM, answer=ANSWER, endpoint=lt.embedded())
        fitted = engine.drive(spec.fit(task.rows(train, labelled=True)), spec.endpoint)
        compare("prompt", fitted, texts, given.evaluations)


if __name__ == "__main__":
    main()

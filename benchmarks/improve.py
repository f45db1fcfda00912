"""Whether `luthier improve` finds the words that make a prompt better within its budget, and gains nothing from noise.

    python benchmarks/improve.py --seeds 10              # a model that is the better the more words its prompt has
    python benchmarks/improve.py --seeds 10 --shuffled   # labels that have nothing to do with the texts

The models are scripted (tests/improving/scripted_prompts.py): one is right in half of the rows, and in a tenth more for
each of three words; the other writes instructions, which hold one of the words in a third of its answers. What is spent
is counted where the requests arrive.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=200, help="training rows that prompts are chosen on")
    parser.add_argument("--fresh", type=int, default=300, help="validation rows")
    parser.add_argument("--budget", type=float, default=0.5)
    parser.add_argument("--step", type=float, default=0.1, help="what each word adds")
    parser.add_argument("--shuffled", action="store_true")
    given = parser.parse_args()
    os.environ |= {
        "LUTHIER_HOME": tempfile.mkdtemp(),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tempfile.mkdtemp()}/mlflow.db",
    }
    print("seed  words  gain   low    high   train  fresh  rounds  prompts  spent    budget  seconds", flush=True)
    found = [search(seed, given) for seed in range(given.seeds)]
    print(
        f"{sum(gained for gained, _, _ in found)} of {len(found)} with a gain, "
        f"{sum(words for _, words, _ in found) / len(found):.1f} of 3 words on average, "
        f"budget exceeded by {sum(over for _, _, over in found)}"
    )


def search(seed: int, given: argparse.Namespace) -> tuple[bool, int, bool]:
    from tests.improving.scripted_prompts import WORDS, scripted_models, texts, truths_of
    from tests.memory_tracker import MemoryTracker

    from luthier.endpoints import Engine, Journal, RunOptions
    from luthier.improving.improve_setup import ImproveSetup

    train, fresh = texts(given.rows, seed), texts(given.fresh, seed, first=100_000)
    truths = {} if given.shuffled else truths_of(train, fresh)
    engine, began = Engine(Journal.in_memory()), time.monotonic()
    with scripted_models(truths, WORDS, given.step) as models:
        setup = ImproveSetup(
            models.prompt(), train, fresh, writer=models.writing(), by=["rewrite"], rows=given.rows, seed=seed
        )
        found = setup.run(RunOptions.within(given.budget, engine=engine), tracker=MemoryTracker())
        spent = models.usd
    engine.close()
    facts = found.facts
    winner = facts.prompt(facts.winner)
    words = sum(word in str(found.winner.prompt.system) for word in WORDS)
    gain = facts.gain
    bounds = "   -      -      -  " if gain is None else f"{gain.value:+.3f} {gain.low:+.3f} {gain.high:+.3f}"
    at = "  -  " if winner.fresh is None else f"{winner.fresh.score.value:.3f}"
    print(
        f"{seed:>4}  {words:>5}  {bounds}  {winner.score.value:.3f}  {at}  {facts.rounds:>6}  {len(facts.prompts):>7}  "
        f"${spent:.4f}  ${given.budget:.2f}  {time.monotonic() - began:7.1f}{'  GAIN' if found.has_gain else ''}",
        flush=True,
    )
    return found.has_gain, words, spent > given.budget


if __name__ == "__main__":
    main()

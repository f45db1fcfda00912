"""Ways to find a better prompt, for the same money: rewriting, GEPA within our search, and MLflow's GEPA by itself.

    python benchmarks/improve_peers.py [--seeds 5] [--budgets 5 10 20]

The models are scripted, so that what is measured is the search. Texts hold a word that decides their label. The model
knows some words and those that its instructions explain, and errs on one row in ten whatever they say. The writer reads
the rows it is told, keeps most of the present rules, and of each word that was answered wrong it makes a rule half of
the time, a wrong one now and then. All of it depends on a digest of the request alone.

A budget is given in what the first prompt costs on all rows. Every token costs the same, also of the writer. `GEPA by
itself` is what `mlflow.genai.optimize` does: three rows a rewrite, all rows to judge by, no journal; it is stopped when
the budget is spent. Judged by the accuracy of the prompt that each ends with, on 3,000 other texts without errors at
random.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import random
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import mean
from typing import Any

import pandas as pd

from luthier.engine.engine import Engine
from luthier.engine.options import RunOptions
from luthier.experiments.labelled_tables import labelled_tables
from luthier.improving.improve_inputs import ImproveInputs
from luthier.improving.proposers import chosen_proposers
from luthier.improving.search import RacedSearch
from luthier.journal.journal import Journal
from luthier.providers.endpoint import Endpoint, Price
from luthier.tasks.task import Task
from luthier.techniques import Prompt

LABELS = ("refund", "delivery", "account", "other")
TASK = Task("topic", text="text", label="topic", labels=list(LABELS))
FIRST = "Which topic is it? Answer with one of: refund, delivery, account, other."
ROWS, FRESH = 200, 3000
PRICE = 1.0
"""US dollars for a million tokens, of questions and answers, of both models."""

RULE = re.compile(r"\b(\w+) means (refund|delivery|account|other)\.")
TOLD = (
    re.compile(r'"text": "(?P<text>[^"]*)", "\(truth\)": "(?P<truth>\w+)", "\(answer\)": "(?P<answer>\w+)"'),
    re.compile(
        r"### text\n(?P<text>.*?)\n\n+## Generated Outputs\n(?P<answer>\w+)\n\n## Feedback\n"
        r"(?:Right|Wrong: the right answer is (?P<truth>\w+))"
    ),
    re.compile(
        r"### text\n(?P<text>.*?)\n\n+## outputs\n(?P<answer>\w+)\n\n## expectations\n### topic\n(?P<truth>\w+)"
    ),
)
PRESENT = re.compile(r"<instructions>\n(.*?)\n</instructions>|perform a task for me:\n```\n(.*?)\n```", re.S)


def drawn(*about: object) -> float:
    """A number from 0 to 1 that depends on nothing else."""
    return int.from_bytes(hashlib.sha256(json.dumps(about).encode()).digest()[:8], "big") / 2**64


@dataclass(frozen=True)
class World:
    """Words, what they mean, and which of them the model knows."""

    seed: int

    @property
    def words(self) -> dict[str, str]:
        """The deciding words, the most frequent first."""
        dice = random.Random(f"words/{self.seed}")
        made = {
            "".join(dice.choices("bdfgklmnprstvz", k=3)) + dice.choice(("ane", "ilo", "ust", "ora")): ""
            for _ in range(30)
        }
        return {word: dice.choice(LABELS) for word in made}

    def table(self, rows: int, part: str) -> pd.DataFrame:
        """Labelled texts; a word of rank r comes with a frequency of 1 / (r + 3)."""
        dice, words = random.Random(f"{part}/{self.seed}"), self.words
        weights = [1 / (rank + 3) for rank in range(len(words))]
        found = dice.choices(list(words), weights, k=rows)
        texts = [
            f"Case {part}{number}, about the {word} of {dice.randint(10, 99)}" for number, word in enumerate(found)
        ]
        return pd.DataFrame({"text": texts, "topic": [words[word] for word in found]})

    def answer(self, instructions: str, text: str, *, errs: bool = True) -> str:
        """What the model says; it knows every third word."""
        words = self.words
        word = next(one for one in words if f" {one} " in text)
        rules = dict(RULE.findall(instructions))
        known = words[word] if list(words).index(word) % 3 == 0 else "other"
        said = rules.get(word, known)
        return LABELS[int(drawn("error", text) * 4)] if errs and drawn("errs", text) < 0.1 else said

    def written(self, request: str) -> str:
        """What the writer says."""
        [present] = [one or other for one, other in PRESENT.findall(request)[:1]]
        rules = [rule for rule in RULE.findall(present) if drawn("kept", request, rule) < 0.95]
        for pattern in TOLD:
            for told in pattern.finditer(request):
                word = next(one for one in self.words if f" {one} " in told["text"])
                is_wrong = told["truth"] is not None and told["truth"] != told["answer"]
                if is_wrong and drawn("seen", request, word) < 0.5:
                    meant = told["truth"] if drawn("right", request, word) < 0.9 else LABELS[int(drawn(word) * 4)]
                    rules = [rule for rule in rules if rule[0] != word] + [(word, meant)]
        text = " ".join([FIRST, *(f"{word} means {label}." for word, label in rules)])
        return (
            f"<new_instructions>\n{text}\n</new_instructions>" if "<instructions>" in request else f"```\n{text}\n```"
        )

    def accuracy(self, instructions: str) -> float:
        """On fresh texts, without errors at random."""
        table = self.table(FRESH, "fresh")
        right = [self.answer(instructions, text, errs=False) == topic for text, topic in table.itertuples(index=False)]
        return mean(right)


def tokens(text: str) -> int:
    return len(text) // 4 + 1


def is_writing(prompt: str) -> bool:
    return "new instruction" in prompt


@contextmanager
def service(world: World) -> Iterator[Endpoint]:
    """Both models on a server of their own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            turns = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
            prompt = "\n\n".join(turn["content"] for turn in turns)
            text = world.written(prompt) if is_writing(prompt) else world.answer(prompt, turns[-1]["content"])
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            usage = {"prompt_tokens": tokens(prompt), "completion_tokens": tokens(text)}
            said = json.dumps({"id": "x", "object": "chat.completion", "usage": usage, "choices": [choice]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            price = Price(input_usd_per_million=PRICE, output_usd_per_million=PRICE)
            yield Endpoint(
                provider="compatible", base_url=f"http://127.0.0.1:{running.server_port}/v1", model="m", price=price
            )
        finally:
            running.shutdown()
            thread.join()


@dataclass(frozen=True)
class Ended:
    """The prompt a search ended with, and what it took."""

    accuracy: float
    used_usd: float
    rewrites: int


def ours(world: World, by: Sequence[str], budget_usd: float) -> Ended:
    """The search of `luthier improve`, without the last measurement."""
    with service(world) as endpoint:
        spec = Prompt(TASK, "{{ text }}", system=FIRST, endpoint=endpoint, name="first")
        table = world.table(ROWS, "train")
        rows = TASK.rows(table, labelled=True)
        [fresh] = labelled_tables([spec], {"one row": world.table(1, "last")})
        options = RunOptions.within(budget_usd, engine=Engine(Journal.in_memory())).for_command()
        inputs = ImproveInputs(
            spec=spec,
            train_table=table,
            train=rows,
            rows=rows,
            fresh=fresh,
            metric="accuracy",
            writer=endpoint,
            proposers=chosen_proposers(by, writer=True),
            rounds=10**6,
            seed=world.seed,
        )
        search = RacedSearch(inputs, options)
        search.begin()
        search.run(inputs.proposers, inputs.rounds)
        best = search.best.spec.prompt.system
        assert best is not None
        return Ended(world.accuracy(best), search.money.used_usd, len(search.ranked) - 1)


def by_itself(world: World, budget_usd: float) -> Ended:
    """MLflow's optimiser as it comes, but for its client: it is given the writer's function, to count what it asks."""
    from gepa.proposer.reflective_mutation.reflection_lm import StatelessReflectionLM
    from mlflow.genai.optimize.optimizers import GepaPromptOptimizer
    from mlflow.genai.optimize.types import EvaluationResultRecord

    used, rewrites = 0.0, 0
    best = (-1.0, FIRST)

    def pay(asked: str, said: str) -> None:
        nonlocal used
        used += (tokens(asked) + tokens(said)) * PRICE / 1e6

    def measure(prompts: dict[str, str], batch: list[dict[str, Any]]) -> list[EvaluationResultRecord]:
        nonlocal best
        found = []
        for row in batch:
            text, truth = row["inputs"]["text"], row["expectations"]["topic"]
            said = world.answer(prompts["topic"], text)
            pay(f"{prompts['topic']}\n\n{text}", said)
            why = {"right": "yes" if said == truth else "no"}
            found.append(
                EvaluationResultRecord(row["inputs"], said, row["expectations"], float(said == truth), None, why)
            )
        if len(batch) == ROWS and used <= budget_usd:
            best = max(best, (mean(one.score for one in found), prompts["topic"]))
        return found

    def write(request: str) -> str:
        nonlocal rewrites
        rewrites += 1
        said = world.written(request)
        pay(request, said)
        return said

    class Silence:
        def log(self, message: str) -> None: ...

    rows = [
        {"inputs": {"text": text}, "expectations": {"topic": topic}}
        for text, topic in world.table(ROWS, "train").itertuples(index=False)
    ]
    settings = {
        "reflection_strategy": StatelessReflectionLM(write),
        "stop_callbacks": lambda _: used >= budget_usd,
        "seed": world.seed,
        "logger": Silence(),
    }
    optimiser = GepaPromptOptimizer("openai:/unused", max_metric_calls=10**9, gepa_kwargs=settings)
    optimiser.optimize(measure, rows, {"topic": FIRST}, enable_tracking=False)
    return Ended(world.accuracy(best[1]), used, rewrites)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--budgets", type=float, nargs="+", default=[5, 10, 20])
    given = asked.parse_args()
    contestants = {
        "rewrite": lambda world, usd: ours(world, ["rewrite"], usd),
        "gepa": lambda world, usd: ours(world, ["gepa"], usd),
        "rewrite and gepa": lambda world, usd: ours(world, ["rewrite", "gepa"], usd),
        "GEPA by itself": by_itself,
    }
    worlds = [World(seed) for seed in range(1, given.seeds + 1)]
    print(f"first prompt: {mean(world.accuracy(FIRST) for world in worlds):.3f}", flush=True)
    print("| budget | " + " | ".join(contestants) + " |\n|---" * 1 + "|---" * len(contestants) + "|")
    for budget in given.budgets:
        cells = []
        for run in contestants.values():
            ends = []
            for world in worlds:
                first = world.table(ROWS, "train")["text"]
                usd = budget * sum(tokens(f"{FIRST}\n\n{text}") + 2 for text in first) * PRICE / 1e6
                ends.append((run(world, usd), usd))
            assert all(end.used_usd <= usd for end, usd in ends) or run is by_itself
            low, high = min(end.accuracy for end, _ in ends), max(end.accuracy for end, _ in ends)
            share = mean(end.used_usd / usd for end, usd in ends)
            cells.append(f"{mean(end.accuracy for end, _ in ends):.3f} ({low:.2f}-{high:.2f}), {share:.0%} used")
        print(f"| {budget:g} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

"""`quickstart`: from sample data to scored rows on the embedded model, each step explained."""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from luthier import api
from luthier.providers.local_service import run_local_program
from luthier.starting.example_tables import ExampleTable
from luthier.starting.guessing import guess_task
from luthier.starting.init import init_from_table, sizes_of
from luthier.starting.spec_files import write_specs
from luthier.tables import read_table, write_frame
from luthier.tasks.quoting import short
from luthier.tasks.spellings import missing
from luthier.techniques import read_specs
from luthier.terminals import visible
from luthier.tracking.stores import where_to_look

__all__ = ["REVIEWS", "run_example", "run_quickstart"]

NAME = "stars"

REVIEWS = "rating"
"""The task type of the sample reviews."""

SHOWN_ROWS = 3
"""Scored rows that the story shows."""


def run_quickstart(folder: Path, say: Callable[[str], None] = print) -> None:
    """Writes sample tables and specs, compares them, packages the winner, scores new rows.

    Args:
        folder: where `data/` and `models/` go; files that are there already are used.
        say: takes each line of the output.
    """
    started = time.monotonic()
    _heading(say, "1. Data: review sentences, each rated by 20 people")
    run_local_program("--sample", str(folder / "data"))
    tables = {name: folder / "data" / f"{name}.csv" for name in ("train", "validation", "test")}
    train, test = read_table(tables["train"]), read_table(tables["test"])
    new = folder / "data" / "reviews.csv"
    unlabelled = read_table(tables["validation"])[["review_id", "text"]]
    if not new.exists():
        write_frame(unlabelled, new)
    say(f"{len(train):,} rows to learn from, {len(test):,} to measure on, {len(unlabelled):,} new ones to score")

    _heading(say, "2. The question and four ways to answer it")
    models = folder / "models"
    if not (models / "task.yaml").exists():
        guess = guess_task(train, text="text", label="stars")
        write_specs(guess.task, models, sizes=sizes_of(train, guess.task))
    story = _Story(NAME, models, tables["train"], tables["test"], new, say)
    story.goes_on(
        asked=(
            "The prompts ask SmolLM2-135M, a language model that runs on this machine. The embedding spec turns every "
            "text\ninto a vector and learns from the vectors. Each spec is shown as soon as it is measured."
        ),
        after=(
            "Vectors and plain TF-IDF keep up with the language model here, or beat it, because they learned from\n"
            "thousands of labelled rows; SmolLM2, a thousandth the size of well-known models, saw five rows or none. "
            "It\nis here so that everything runs without a key, not to judge prompts by. For a real model change the\n"
            "`endpoint:` block, or add --endpoint (below)."
        ),
        own="luthier init --data YOUR.csv --text COLUMN --label COLUMN --folder my-models --split",
    )
    say(f"\nThis took {time.monotonic() - started:.0f} s.")


def run_example(example: ExampleTable, folder: Path, say: Callable[[str], None] = print) -> None:
    """The same road for an example table of any task type.

    Args:
        example: the table.
        folder: where a folder of its name goes, with `data/` and `models/`; files that are there already are used.
        say: takes each line of the output.
    """
    started = time.monotonic()
    root = folder / example.name
    data, models = root / "data", root / "models"
    table = data / example.path.name
    _heading(say, f"1. Data: {example.about}")
    data.mkdir(parents=True, exist_ok=True)
    if not table.exists():
        shutil.copyfile(example.path, table)
    frame = read_table(table)
    say(f"{table} has {len(frame):,} rows, the first of them:")
    for column, cell in frame.iloc[0].items():
        say(f"  {column}: {visible(short(str(cell)))}")

    command = f"luthier init --data {table} --type {example.type} --label {example.label} --folder {models} --split"
    _heading(say, f"2. {command}")
    parts = [sorted(data.glob(f"{part}.*")) for part in ("train", "validation", "test")]
    if not (models / "task.yaml").exists() or not all(parts):
        made = init_from_table(
            table,
            text="text",
            label=example.label,
            name=example.name,
            type_name=example.type,
            folder=models,
            split=True,
            replace=True,
        )
        parts = [[path] for path in made.tables]
        say(visible(made.found))
    train, validation, test = (part[0] for part in parts)
    new = data / "new.jsonl"
    if not new.exists():
        write_frame(read_table(validation).drop(columns=[example.label]), new)
    story = _Story(example.name, models, train, test, new, say, shows_rows=True)
    story.goes_on(
        asked="The prompts ask SmolLM2-135M, a language model that runs on this machine. Each spec is shown as soon\n"
        "as it is measured.",
        after=textwrap.fill(example.after, 110),
        own=f"luthier init --data YOUR.csv --type {example.type} --folder my-models --split",
    )
    say(f"\nThis took {time.monotonic() - started:.0f} s.")


def _heading(say: Callable[[str], None], text: str) -> None:
    say(f"\n── {text} " + "─" * max(3, 76 - len(text)))


@dataclass(frozen=True)
class _Story:
    """What follows once there are tables and specs: compare, log, score, and where to go from there.

    Attributes:
        name: of the registered model.
        models: folder of the specs.
        train: table to learn from.
        test: table to measure on.
        new: table to score.
        say: takes each line of the output.
        shows_rows: whether some of the scored rows are shown.
    """

    name: str
    models: Path
    train: Path
    test: Path
    new: Path
    say: Callable[[str], None]
    shows_rows: bool = False

    def goes_on(self, *, asked: str, after: str, own: str) -> None:
        """The steps from the third on.

        Args:
            asked: what is asked in the comparison.
            after: what to make of its leaderboard.
            own: the command for a table of one's own.
        """
        say, models = self.say, self.models
        specs = read_specs([models])
        for spec in specs:
            asks = f", {spec.base_model}" if spec.endpoint else ""
            say(f"{models / (spec.name + '.yaml')}: {spec.technique}{asks}")
        train, test = read_table(self.train), read_table(self.test)
        sizes = sizes_of(train, specs[0].task)
        _heading(say, f"3. luthier compare {models} --test ... --train ... --limit {sizes.rows}")
        say(asked)
        say(str(sizes))
        board = api.compare(specs, test, train=train, limit=sizes.rows, test_name=self.test.name)
        say(str(board))
        say(f"\n{after}")

        best = board.best
        _heading(say, f"4. luthier log ... --register {self.name} --alias champion")
        model = best.log(register=self.name, alias="champion")
        say(f"{model.uri} is {best.spec.name}, an ordinary MLflow model: mlflow models predict -m {model.uri} ...")

        _heading(say, f"5. luthier score {model.uri} {self.new} ...")
        scored = self.new.parent / "scored.csv"
        report = model.score_file(self.new, scored, overwrite=True)
        say(str(report))
        if self.shows_rows:
            kind = specs[0].task.kind
            for row in read_table(scored).head(SHOWN_ROWS).to_dict("records"):
                text = " | ".join(short(str(row[column])) for column in specs[0].task.text_columns)
                value = row[kind.value_name]
                if missing(value):
                    answer = f"none ({row['error']})"
                else:
                    answer = short(str(value)) if kind.value_column == "text" else f"{float(value):.4g}"
                say(visible(f"  {text}\n    {kind.value_name}: {answer}"))

        _heading(say, "What next")
        say(f"Look:       {where_to_look().removeprefix('See it with: ')}")
        say("A page:     luthier report --open")
        say("A service:  export OPENAI_API_KEY=...")
        say(f"            luthier check {models} --endpoint {models}/endpoints/openai.yaml")
        say(f"            luthier compare {models} --endpoint {models}/endpoints/openai.yaml \\")
        say(f"                --test {self.test} --train {self.train} --limit {sizes.rows} --dry-run")
        say(f"            ({models}/endpoints/ also has Azure, vLLM and Ollama)")
        say(f"Your data:  {own}")

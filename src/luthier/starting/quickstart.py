"""`quickstart`: from sample data to scored rows on the embedded model, each step explained."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from luthier import api
from luthier.providers.local_service import run_local_program
from luthier.starting.guessing import guess_task
from luthier.starting.init import sizes_of
from luthier.starting.spec_files import write_specs
from luthier.tables import read_table, write_frame
from luthier.techniques import read_specs
from luthier.tracking.stores import where_to_look

__all__ = ["run_quickstart"]

NAME = "stars"


def run_quickstart(folder: Path, say: Callable[[str], None] = print) -> None:
    """Writes sample tables and specs, compares them, packages the winner, scores new rows.

    Args:
        folder: where `data/` and `models/` go; files that are there already are used.
        say: takes each line of the output.
    """
    started = time.monotonic()

    def heading(text: str) -> None:
        say(f"\n── {text} " + "─" * max(3, 76 - len(text)))

    heading("1. Data: review sentences, each rated by 20 people")
    run_local_program("--sample", str(folder / "data"))
    tables = {name: folder / "data" / f"{name}.csv" for name in ("train", "validation", "test")}
    train, test = read_table(tables["train"]), read_table(tables["test"])
    new = folder / "data" / "reviews.csv"
    unlabelled = read_table(tables["validation"])[["review_id", "text"]]
    if not new.exists():
        write_frame(unlabelled, new)
    say(f"{len(train):,} rows to learn from, {len(test):,} to measure on, {len(unlabelled):,} new ones to score")

    heading("2. The question and four ways to answer it")
    models = folder / "models"
    if not (models / "task.yaml").exists():
        guess = guess_task(train, text="text", label="stars")
        write_specs(guess.task, models, sizes=sizes_of(train, guess.task))
    specs = read_specs([models])
    for spec in specs:
        say(f"{models / (spec.name + '.yaml')}: {spec.technique}" + (f", {spec.base_model}" if spec.endpoint else ""))

    sizes = sizes_of(train, specs[0].task)
    heading(f"3. luthier compare {models} --test ... --train ... --limit {sizes.rows}")
    say("The prompts ask SmolLM2-135M, a language model that runs on this machine. The embedding spec turns every text")
    say("into a vector and learns from the vectors. Each spec is shown as soon as it is measured.")
    say(str(sizes))
    board = api.compare(specs, test, train=train, limit=sizes.rows, test_name=tables["test"].name)
    say(str(board))
    say(
        "\nVectors and plain TF-IDF keep up with the language model here, or beat it, because they learned from\n"
        "thousands of labelled rows; SmolLM2, a thousandth the size of well-known models, saw five rows or none. It\n"
        "is here so that everything runs without a key, not to judge prompts by. For a real model change the\n"
        "`endpoint:` block, or add --endpoint (below)."
    )

    best = board.best
    heading(f"4. luthier log ... --register {NAME} --alias champion")
    model = best.log(register=NAME, alias="champion")
    say(f"{model.uri} is {best.spec.name}, an ordinary MLflow model: mlflow models predict -m {model.uri} ...")

    heading(f"5. luthier score {model.uri} {new} ...")
    scored = folder / "data" / "scored.csv"
    report = model.score_file(new, scored, overwrite=True)
    say(str(report))

    heading("What next")
    say(f"Look:       {where_to_look().removeprefix('See it with: ')}")
    say("A page:     luthier report --open")
    say("A service:  export OPENAI_API_KEY=...")
    say(f"            luthier check {models} --endpoint {models}/endpoints/openai.yaml")
    say(f"            luthier compare {models} --endpoint {models}/endpoints/openai.yaml \\")
    say(f"                --test {tables['test']} --train {tables['train']} --limit {sizes.rows} --dry-run")
    say(f"            ({models}/endpoints/ also has Azure, vLLM and Ollama)")
    say("Your data:  luthier init --data YOUR.csv --text COLUMN --label COLUMN --folder my-models --split")
    say(f"\nThis took {time.monotonic() - started:.0f} s.")

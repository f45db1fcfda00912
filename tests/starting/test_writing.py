"""What `init` writes: files that can be read again, opened, and pointed elsewhere."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

import luthier as lt
from luthier.errors import DataError
from luthier.starting.guessing import guess_task
from luthier.starting.tables import start_from_table
from luthier.starting.writing import EXAMPLE_ENDPOINTS, write_specs
from luthier.techniques import read_endpoint, read_specs
from tests.conftest import REPOSITORY, reviews

EXAMPLES = sorted(EXAMPLE_ENDPOINTS.glob("*.yaml"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "reviews.csv"
    reviews(100).to_csv(file, index=False)
    return file


def test_the_specs_answer_the_task_beside_them(table: Path) -> None:
    start_from_table(table, text="text", label="stars")
    specs = read_specs(["models"])
    assert [spec.name for spec in specs] == ["stars-baseline", "stars-few-shot", "stars-zero-shot"]
    assert {spec.task.labels for spec in specs} == {("1", "2", "3", "4", "5")}


def test_files_that_are_there_are_not_written_over(table: Path) -> None:
    start_from_table(table, text="text", label="stars")
    before = Path("models/task.yaml").read_text()
    with pytest.raises(DataError, match="--force"):
        start_from_table(table, text="text", label="stars", name="stars")
    assert Path("models/task.yaml").read_text() == before


def test_split_writes_tables_that_share_no_text(table: Path) -> None:
    started = start_from_table(table, text="text", label="stars", split=True)
    texts = [set(lt.read_table(path)["text"]) for path in started.tables]
    assert sum(map(len, texts)) == len(set().union(*texts)) == 100


def test_a_text_column_with_a_space_is_written_so_that_it_works(tmp_path: Path) -> None:
    frame = reviews(50).rename(columns={"text": "review text"})
    frame.to_csv(tmp_path / "t.csv", index=False)
    start_from_table(tmp_path / "t.csv", text="review text", label="stars")
    prompt = read_specs(["models"])[1]
    assert frame["review text"][0] in str(prompt.preview(frame.head(1), frame))


def test_labels_of_words_need_no_other_words(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(20)], "topic": ["sport", "politics"] * 10})
    frame.to_csv(tmp_path / "t.csv", index=False)
    start_from_table(tmp_path / "t.csv", text="text", label="topic")
    assert "sport" in str(read_specs(["models"])[2].preview(frame.head(1)))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_endpoint_fits_the_specs(table: Path, example: Path) -> None:
    start_from_table(table, text="text", label="stars")
    wanted = read_endpoint(example)["endpoint"]
    moved = [spec for spec in read_specs(["models"], read_endpoint(example)) if spec.endpoint is not None]
    assert [spec.endpoint.model for spec in moved if spec.endpoint] == [wanted["model"]] * 2


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_init_writes_specs_for_every_example_endpoint(table: Path, example: Path) -> None:
    start_from_table(table, text="text", label="stars", overrides=read_endpoint(example))
    assert read_specs(["models"])[1].base_model == read_endpoint(example)["endpoint"]["model"]


def test_a_reasoning_model_is_asked_without_temperature_and_with_room_to_think(table: Path) -> None:
    start_from_table(table, text="text", label="stars")
    spec = read_specs(["models"], read_endpoint(EXAMPLE_ENDPOINTS / "openai-reasoning.yaml"))[2]
    (probe,) = spec.probes()
    assert probe.settings["temperature"] is None
    assert probe.settings["max_tokens"] == 2000
    assert not probe.reads_logprobs


def test_the_repositorys_models_are_what_init_writes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": list("abcde"), "stars": [1, 2, 3, 4, 5]})
    for number in range(1, 21):
        frame[f"rater_{number:02d}"] = frame["stars"]
    write_specs(guess_task(frame, text="text", label="stars").task, tmp_path / "models")
    for file in sorted((tmp_path / "models").rglob("*.yaml")):
        committed = REPOSITORY / "models" / file.relative_to(tmp_path / "models")
        assert yaml.safe_load(committed.read_text()) == yaml.safe_load(file.read_text()), file.name

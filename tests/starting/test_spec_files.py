"""What `init` writes: files that can be read again, opened, and pointed elsewhere."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

import luthier as lt
from luthier.errors import DataError
from luthier.starting.guessing import guess_task
from luthier.starting.init import init_from_table
from luthier.starting.sizing import Sizes
from luthier.starting.spec_files import EMBEDDED, EXAMPLE_ENDPOINTS, write_specs
from luthier.techniques import read_endpoint, read_spec, read_specs
from luthier.techniques.prompt.few_shot import split_rows
from tests.conftest import REPOSITORY, reviews

EXAMPLES = sorted(EXAMPLE_ENDPOINTS.glob("*.yaml"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "reviews.csv"
    reviews(100).to_csv(file, index=False)
    return file


def test_the_specs_answer_the_task_beside_them(table: Path) -> None:
    init_from_table(table, text="text", label="stars")
    specs = read_specs(["models"])
    assert [spec.name for spec in specs] == ["stars-baseline", "stars-embedding", "stars-few-shot", "stars-zero-shot"]
    assert {spec.task.labels for spec in specs} == {("1", "2", "3", "4", "5")}


def test_files_that_are_there_are_not_written_over(table: Path) -> None:
    init_from_table(table, text="text", label="stars")
    before = Path("models/task.yaml").read_text()
    with pytest.raises(DataError, match="--force"):
        init_from_table(table, text="text", label="stars", name="stars")
    assert Path("models/task.yaml").read_text() == before


def test_split_writes_tables_that_share_no_text(table: Path) -> None:
    started = init_from_table(table, text="text", label="stars", split=True)
    texts = [set(lt.read_table(path)["text"]) for path in started.tables]
    assert sum(map(len, texts)) == len(set().union(*texts)) == 100


def test_a_text_column_with_a_space_is_written_so_that_it_works(tmp_path: Path) -> None:
    frame = reviews(50).rename(columns={"text": "review text"})
    frame.to_csv(tmp_path / "t.csv", index=False)
    init_from_table(tmp_path / "t.csv", text="review text", label="stars")
    prompt = read_spec("models/stars-few-shot.yaml")
    assert frame["review text"][0] in str(prompt.preview(frame.head(1), frame))


def test_labels_of_words_need_no_other_words(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(20)], "topic": ["sport", "politics"] * 10})
    frame.to_csv(tmp_path / "t.csv", index=False)
    init_from_table(tmp_path / "t.csv", text="text", label="topic")
    assert "sport" in str(read_spec("models/topic-zero-shot.yaml").preview(frame.head(1)))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_endpoint_fits_the_specs(table: Path, example: Path) -> None:
    init_from_table(table, text="text", label="stars")
    given = read_endpoint(example)
    moved = {spec.name: spec.base_model for spec in read_specs(["models"], given)}
    assert moved.pop("stars-embedding") == given.get("embedding", EMBEDDED)["model"]
    moved.pop("stars-baseline")
    assert set(moved.values()) == {given["endpoint"]["model"]}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_endpoint_shows_how_texts_are_embedded_there(example: Path, tmp_path: Path) -> None:
    lines = [
        line.removeprefix("# ") if line.startswith(("# embedding:", "#  ")) else line
        for line in example.read_text().splitlines()
    ]
    (tmp_path / "shown.yaml").write_text("\n".join(lines))
    assert set(read_endpoint(tmp_path / "shown.yaml")) >= {"endpoint", "embedding"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_init_writes_specs_for_every_example_endpoint(table: Path, example: Path) -> None:
    init_from_table(table, text="text", label="stars", overrides=read_endpoint(example))
    assert read_spec("models/stars-few-shot.yaml").base_model == read_endpoint(example)["endpoint"]["model"]


def test_init_tells_of_the_embedding_spec_an_endpoint_file_says_nothing_about(table: Path) -> None:
    chat = {"endpoint": {"provider": "openai", "model": "some-model"}}
    started = init_from_table(table, text="text", label="stars", overrides=chat)
    assert "stars-embedding asks the embedded server, wordllama-256" in str(started)
    assert read_spec("models/stars-embedding.yaml").base_model == "wordllama-256"


def test_init_puts_the_model_that_embeds_under_the_embedding_spec(table: Path) -> None:
    overrides = read_endpoint(EXAMPLE_ENDPOINTS / "openai.yaml")
    started = init_from_table(table, text="text", label="stars", overrides=overrides)
    assert "embedded server" not in str(started)
    assert read_spec("models/stars-embedding.yaml").base_model == "text-embedding-3-small"


@pytest.mark.parametrize(("type_", "head"), [("rating", "ordinal"), ("classification", "logistic")])
def test_the_embedding_spec_has_the_head_that_suits_the_labels(type_: str, head: str, tmp_path: Path) -> None:
    write_specs(lt.Task("mood", type=type_, labels=["bad", "so-so", "good"]), tmp_path / "models")
    spec = read_spec(tmp_path / "models" / "mood-embedding.yaml")
    assert isinstance(spec, lt.Embedding) and spec.head.method == head


def test_a_reasoning_model_is_asked_without_temperature_and_with_room_to_think(table: Path) -> None:
    init_from_table(table, text="text", label="stars")
    spec = read_spec("models/stars-zero-shot.yaml", read_endpoint(EXAMPLE_ENDPOINTS / "openai-reasoning.yaml"))
    (probe,) = spec.probes()
    assert probe.settings["temperature"] is None
    assert probe.settings["max_tokens"] == 2000
    assert not probe.reads_logprobs


def test_the_repositorys_models_are_what_init_writes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": list("abcde"), "stars": [1, 2, 3, 4, 5]})
    for number in range(1, 21):
        frame[f"rater_{number:02d}"] = frame["stars"]
    # As the quickstart measures the sample reviews.
    sizes = Sizes(rows=40, text_characters=None, cut_share=0.0, example_characters=80)
    write_specs(guess_task(frame, text="text", label="stars").task, tmp_path / "models", sizes=sizes)
    for file in sorted((tmp_path / "models").rglob("*.yaml")):
        committed = REPOSITORY / "models" / file.relative_to(tmp_path / "models")
        assert yaml.safe_load(committed.read_text()) == yaml.safe_load(file.read_text()), file.name


def test_a_split_keeps_what_another_table_left_there(tmp_path: Path) -> None:
    for name, text in (("tickets", "ticket"), ("reviews", "review")):
        frame = pd.DataFrame({"text": [f"{text} {i}" for i in range(30)], "label": ["a", "b"] * 15})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    first = init_from_table(tmp_path / "tickets.csv", split=True, folder=tmp_path / "one")
    kept = (tmp_path / "train.csv").read_bytes()
    second = init_from_table(tmp_path / "reviews.csv", split=True, folder=tmp_path / "two", replace=True)
    assert [path.name for path in first.tables] == ["train.csv", "validation.csv", "test.csv"]
    assert [path.name for path in second.tables] == ["reviews-train.csv", "reviews-validation.csv", "reviews-test.csv"]
    assert (tmp_path / "train.csv").read_bytes() == kept
    assert "reviews-test.csv" in str(second) and "kept, as they hold another table" in str(second)


def test_a_split_is_written_anew_over_its_own_parts_alone(table: Path) -> None:
    init_from_table(table, split=True)
    with pytest.raises(DataError, match="--force"):
        init_from_table(table, split=True)
    again = init_from_table(table, split=True, replace=True)
    assert [path.name for path in again.tables] == ["train.csv", "validation.csv", "test.csv"]


def test_a_split_never_writes_over_the_table_itself(tmp_path: Path) -> None:
    data = tmp_path / "train.csv"
    reviews(100).to_csv(data, index=False)
    before = data.read_bytes()
    started = init_from_table(data, split=True, replace=True)
    assert data.read_bytes() == before
    assert [path.name for path in started.tables] == ["train-train.csv", "train-validation.csv", "train-test.csv"]


def test_how_a_table_was_saved_is_shown(tmp_path: Path) -> None:
    data = tmp_path / "t.csv"
    data.write_bytes("Urteil;Text\nzufrieden;schön, sehr schön\nböse;schlecht und teuer\n".encode("cp1252"))
    started = init_from_table(data, text="Text", label="Urteil")
    assert f"{data}: semicolons between cells; encoding cp1252" in str(started)
    assert started.guess.task.labels == ("böse", "zufrieden")


@pytest.mark.parametrize(
    ("delimiter", "labels"),
    [
        (",", ("001", "002", "004", "005")),
        (",", ("+1", "0", "-1")),
        (",", ("TRUE", "FALSE")),
        (";", ("1,5", "2,0", "10,0")),
        (",", ("cafe\u0301", "bar")),
        (",", ("yes", "no", "null")),
        (",", ("1.0", "2.0", "3.0")),
    ],
)
def test_labels_that_init_writes_are_labels_of_its_table(
    tmp_path: Path, delimiter: str, labels: tuple[str, ...]
) -> None:
    file = tmp_path / "t.csv"
    lines = [f"text number {i}{delimiter}{labels[i % len(labels)]}" for i in range(30)]
    file.write_text("\n".join([f"text{delimiter}label", *lines]))
    started = init_from_table(file, name="t")
    spec = read_spec("models/t-baseline.yaml")
    rows = spec.task.rows(lt.read_table(file), labelled=True)
    assert spec.task == started.guess.task
    assert set(rows.labels) == {label.removesuffix(".0") for label in labels}


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_booleans_of_a_typed_table_are_labels(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"text": [f"text number {i}" for i in range(20)], "label": [True, False] * 10})
    if name.endswith("parquet"):
        frame.to_parquet(tmp_path / name)
    else:
        frame.to_json(tmp_path / name, orient="records", lines=True)
    init_from_table(tmp_path / name, name="t")
    task = read_spec("models/t-baseline.yaml").task
    assert task.labels == ("false", "true")
    assert task.rows(lt.read_table(tmp_path / name), labelled=True).labels[:2] == ("true", "false")


@pytest.mark.parametrize(("labels", "shown"), [(2, 4), (5, 5), (12, 12), (40, 40), (50, 40)])
def test_the_default_few_shot_shows_every_label_as_far_as_that_fits(tmp_path: Path, labels: int, shown: int) -> None:
    """Texts are of very different lengths, so that `max_characters` leaves some labels without a short one."""
    names = [f"kind {number:02d}" for number in range(labels)]
    frame = pd.DataFrame(
        [
            {"text": f"letter {number} " + "long " * (number % labels % 7) * 20, "label": names[number % labels]}
            for number in range(labels * 12)
        ]
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    init_from_table(tmp_path / "t.csv", text="text", label="label", folder=tmp_path / "m")
    spec = read_spec(tmp_path / "m" / "label-few-shot.yaml")
    assert isinstance(spec, lt.Prompt)
    assert spec.prompt.examples.max_characters is not None
    rows = spec.task.rows(frame, labelled=True)
    examples = [rows.labels[place] for place in split_rows(spec, rows).examples]
    assert len(examples) == shown
    assert len(set(examples)) == min(labels, shown)

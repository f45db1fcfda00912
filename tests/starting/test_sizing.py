"""What the embedded model is asked by default fits into a minute, and is said."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from luthier.starting.init import init_from_table
from luthier.starting.sizing import CALIBRATION_ROWS, SECONDS, TOKENS_PER_SECOND, sizes_for
from luthier.techniques import read_endpoint, read_spec
from tests.conftest import REPOSITORY, reviews

OPENAI = REPOSITORY / "models" / "endpoints" / "openai.yaml"


def written(file: Path, length: int) -> pd.DataFrame:
    """A table whose texts are about so many characters long, a few of them short."""
    frame = reviews(200)
    frame["text"] = [
        text if row < 40 else f"{text} and so on" * (length // 50) for row, text in enumerate(frame["text"])
    ]
    frame.to_csv(file, index=False)
    return frame


@pytest.mark.parametrize("length", [100, 400, 3_000])
def test_longer_texts_mean_fewer_rows(length: int) -> None:
    shorter, longer = (sizes_for(["x" * size] * 100, [1, 2, 3, 4, 5] * 20, 5) for size in (50, length))
    assert 20 <= longer.rows <= shorter.rows <= 100


def test_the_prompts_of_init_to_the_embedded_model_end_within_a_minute(tmp_path: Path) -> None:
    frame = written(tmp_path / "t.csv", 3_000)
    started = init_from_table(tmp_path / "t.csv", text="text", label="stars")
    assert started.sizes is not None
    characters = 0.0
    # Two calls a row for the prompt alone, as measured: many answers need one more token to tell the labels apart.
    for name, calls in (("few-shot", 1.1), ("zero-shot", 2.0)):
        spec = read_spec(f"models/stars-{name}.yaml")
        fitting, rows = spec.first_requests(
            spec.task.rows(frame.tail(started.sizes.rows)), spec.task.rows(frame, labelled=True)
        )
        assert len(fitting) == CALIBRATION_ROWS
        characters += calls * sum(len(str(request.body["prompt"])) for request in [*fitting, *rows])
    assert characters / 4.2 / TOKENS_PER_SECOND < 1.3 * SECONDS


def test_what_is_cut_is_said_by_init_in_the_spec_and_on_the_leaderboard(tmp_path: Path) -> None:
    written(tmp_path / "t.csv", 3_000)
    said = str(init_from_table(tmp_path / "t.csv", text="text", label="stars"))
    assert "--train TRAIN_TABLE --limit 20\n" in said
    assert "400 characters (truncate" in said and "80%" in said
    assert "max_characters" in said
    spec = read_spec("models/stars-few-shot.yaml")
    assert "truncate(400)" in Path("models/stars-few-shot.yaml").read_text()
    assert any("400 characters" in note for note in spec.notes())


def test_short_texts_are_left_whole(tmp_path: Path) -> None:
    written(tmp_path / "t.csv", 100)
    started = init_from_table(tmp_path / "t.csv", text="text", label="stars")
    assert "truncate" not in Path("models/stars-few-shot.yaml").read_text() + str(started)


def test_a_service_is_asked_everything(tmp_path: Path) -> None:
    written(tmp_path / "t.csv", 3_000)
    started = init_from_table(tmp_path / "t.csv", text="text", label="stars", overrides=read_endpoint(OPENAI))
    text = Path("models/stars-few-shot.yaml").read_text()
    assert "--limit" not in str(started)
    assert "truncate" not in text
    assert "max_characters" not in text
    assert "calibration_rows: 60" in text


def test_a_rare_label_keeps_texts_short_enough_to_be_shown() -> None:
    texts, labels = ["x" * 30] * 90 + ["x" * 300] * 10, ["a"] * 90 + ["b"] * 10
    assert sizes_for(texts, labels, 4).example_characters == 300


def test_answers_that_are_written_out_have_room_for_the_longest_of_the_table() -> None:
    sizes = sizes_for(["a text"] * 20, [""] * 20, 4, ["{}"] * 19 + ["x" * 420])
    assert sizes.answer_tokens == 150
    assert "after 150 tokens (max_tokens)" in str(sizes)
    assert sizes_for(["a text"] * 20, [""] * 20, 4, ["{}"] * 20).answer_tokens == 32
    assert sizes_for(["a text"] * 20, ["a", "b"] * 10, 4).answer_tokens is None

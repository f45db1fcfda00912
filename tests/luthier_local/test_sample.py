"""The sample reviews, as fetched: joined, cut, split, written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from luthier_local.sample import sample_frame, write_sample

pytestmark = pytest.mark.slow

DIGESTS = {
    "train": "c35911017610d772b46081bc46c59d3733a6157540689cba68151ff796a35660",
    "validation": "0ed4e93db324812d81fefd38bd46aaf669b7c6ec20bd3bfb2b25fb7153ca4f7a",
    "test": "a611752ddb890b912a4aa33ecd272ce9878a4dfdc91cc1947fac5f2f0e12e349",
}


def test_every_row_has_a_text_stars_and_twenty_raters() -> None:
    frame = sample_frame()
    assert len(frame) == 3697
    assert list(frame.columns[:3]) == ["review_id", "text", "stars"]
    raters = frame[[f"rater_{i:02d}" for i in range(1, 21)]]
    assert raters.isin([1, 2, 3, 4, 5]).all().all()
    assert frame["stars"].isin([1, 2, 3, 4, 5]).all()
    assert frame["text"].str.strip().ne("").all()
    # The people agree with their mean, so that they can serve as a ceiling.
    assert raters.median(axis=1).sub(frame["stars"]).abs().mean() < 0.5


def test_no_review_and_no_text_is_in_two_tables(tmp_path: Path) -> None:
    tables = {name: pd.read_csv(path) for name, path in write_sample(tmp_path).items()}
    together = pd.concat(tables.values())
    assert len(together) == 3697
    assert together["text"].str.lower().str.strip().is_unique
    reviews = [set(table["review_id"]) for table in tables.values()]
    assert sum(map(len, reviews)) == len(set.union(*reviews)) == 300
    shares = {name: len(table) / 3697 for name, table in tables.items()}
    assert shares == pytest.approx({"train": 0.6, "validation": 0.2, "test": 0.2}, abs=0.02)


def test_the_tables_are_the_same_everywhere(tmp_path: Path) -> None:
    paths = write_sample(tmp_path / "new" / "folder")
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()} == DIGESTS


def test_the_licence_and_the_citation_lie_beside_them(tmp_path: Path) -> None:
    write_sample(tmp_path)
    note = (tmp_path / "LICENSE-sample.txt").read_text()
    assert "Hutto" in note
    assert "MIT" in note

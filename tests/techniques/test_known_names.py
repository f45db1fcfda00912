"""The baseline of spans: the names that training rows mark."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import luthier as lt
from luthier.errors import SpecError

TASK = lt.Task("names", type="extraction", labels=["PER", "ORG"])


def rows(*marked: tuple[str, list[tuple[str, str]]]) -> pd.DataFrame:
    spans = [[{"text": text, "label": label} for text, label in found] for _, found in marked]
    return pd.DataFrame({"text": [text for text, _ in marked], "label": spans})


TRAIN = rows(
    ("Ann Lee met Bob.", [("Ann Lee", "PER"), ("Bob", "PER")]),
    ("Lee & Sons wrote to Bob.", [("Lee & Sons", "ORG"), ("Bob", "PER")]),
    ("May May come in May, or in May?", [("May", "PER")]),
    ("Mercer, says Mercer, is Mercer.", [("Mercer", "ORG"), ("Mercer", "ORG"), ("Mercer", "PER")]),
)


@pytest.mark.usefixtures("store")
def test_known_names_are_found_whole_and_the_longest_first() -> None:
    spec = lt.Baseline(TASK)
    texts = ["Is Ann Lee of Lee  & Sons?", "bob, Bobby and Bob", "In May.", "Mercer", " "]
    found = lt.log(spec, train=TRAIN).score(pd.DataFrame({"text": texts}))
    spans: list[Any] = [TASK.kind.read_truth(cell) if isinstance(cell, str) else None for cell in found["spans"]]
    assert [(span["text"], span["label"]) for span in spans[0]] == [("Ann Lee", "PER"), ("Lee  & Sons", "ORG")]
    assert [(span["start"], span["text"]) for span in spans[1]] == [(15, "Bob")]
    # A word that is a name in one of four places is left alone.
    assert spans[2] == []
    assert [span["label"] for span in spans[3]] == ["ORG"]
    assert found["state"].tolist() == ["ok"] * 4 + ["empty"]


def test_it_has_to_be_fitted_and_is_for_spans() -> None:
    assert lt.Baseline(TASK).base_model == "names of the training rows"
    with pytest.raises(SpecError, match="does not answer task 'fields'"):
        lt.Baseline(lt.Task("fields", type="extraction", fields={"a": "string"}))

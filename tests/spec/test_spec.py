"""Gates in a spec: read with it, carried by what is fitted from it, and no part of what an answer depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

import luthier as lt
from luthier.techniques import read_fitted
from tests.conftest import reviews

GATES = ["accuracy_low >= 0.5", "flip_rate_typos <= 0.1"]


def test_gates_change_no_digest(task: lt.Task) -> None:
    for plain, gated in [
        (lt.Baseline(task), lt.Baseline(task, gates=GATES)),
        (
            lt.FineTune(task, "{{ text }}", endpoint=lt.openai("gpt-4.1-nano-2025-04-14")),
            lt.FineTune(task, "{{ text }}", endpoint=lt.openai("gpt-4.1-nano-2025-04-14"), gates=GATES),
        ),
    ]:
        assert (plain.digest, plain.name) == (gated.digest, gated.name)
        assert gated.gates == tuple(GATES)
        assert "gates" not in plain.document()


def test_gates_travel_with_what_is_fitted(task: lt.Task, tmp_path: Path) -> None:
    lt.fit(lt.Baseline(task, gates=GATES), train=reviews(40)).save(tmp_path / "fitted")
    assert read_fitted(tmp_path / "fitted").spec.gates == tuple(GATES)


def test_a_gate_that_cannot_be_judged_is_refused_when_the_spec_is_read(task: lt.Task, tmp_path: Path) -> None:
    for gates, said in [
        (["accuracy_low >= champion"], "names the alias 'champion'"),
        (["f1 >= 0.5"], "no figure 'f1'"),
        ("accuracy >= 0.5", "holds a list"),
    ]:
        with pytest.raises(lt.SpecError, match=said):
            lt.Baseline(task, gates=gates)

"""The settings of a sweep, as a file and in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import luthier as lt
from luthier.errors import SpecError
from luthier.sweeps.settings import SweepSettings, read_sweep
from luthier.sweeps.trial import SweepObjective
from tests.conversing import ENDPOINT, MOOD, STARS

SPEC = """
technique: fine-tune
task: task.yaml
prompt: {template: "Stars for: {{ text }}"}
endpoint: {provider: openai, model: some-model}
tuning: {epochs: 3}
"""
TASK = "{name: stars, type: rating, label: stars, labels: [1, 2, 3, 4, 5]}"
SWEEP = """
spec: stars-tuned.yaml
space:
  tuning.epochs: {int: [1, 20]}
  tuning.learning_rate_multiplier: {log_uniform: [0.05, 2]}
  tuning.batch_size: [4, 8, 16]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    there = tmp_path / "sweeps"
    there.mkdir()
    (there / "task.yaml").write_text(TASK)
    (there / "stars-tuned.yaml").write_text(SPEC)
    return there


def read(folder: Path, text: str, name: str = "stars-sweep.yaml") -> SweepSettings:
    (folder / name).write_text(text)
    return read_sweep(folder / name)


def python(**changes: Any) -> SweepSettings:
    spec = lt.FineTune(STARS, "Stars for: {{ text }}", endpoint=ENDPOINT, name="stars")
    return SweepSettings(**{"spec": spec, "space": {"tuning.epochs": {"int": [1, 20]}}, **changes})


def test_a_short_file_is_a_whole_sweep(folder: Path) -> None:
    sweep = read(folder, SWEEP)
    assert (sweep.name, sweep.spec.name, sweep.sampler, sweep.seed) == ("stars-sweep", "stars-tuned", "tpe", 7)
    assert sweep.objective == (SweepObjective("qwk", "maximize"),)
    assert (sweep.early_stopping.pruner, sweep.space.paths[0]) == ("median", "tuning.epochs")


def test_a_study_is_named_by_its_file_as_far_as_a_name_can_be(folder: Path) -> None:
    assert read(folder, SWEEP, "stars sweep (2).yaml").name == "stars-sweep-2"
    assert read(folder, SWEEP + "name: mine\n").name == "mine"


def test_a_spec_in_place_is_read_with_the_task_beside_the_file(folder: Path) -> None:
    inner = {key: value for key, value in yaml.safe_load(SPEC).items() if key != "task"} | {"name": "in-place"}
    sweep = read(folder, yaml.safe_dump({**yaml.safe_load(SWEEP), "spec": inner}))
    assert (sweep.spec.name, sweep.spec.task.name) == ("in-place", "stars")


@pytest.mark.parametrize("more", [{}, {"objective": ["mse", "cost_usd"]}, {"early_stopping": "halving", "seed": 3}])
def test_a_sweep_reads_as_itself_after_it_was_stored_as_json(more: dict[str, Any]) -> None:
    sweep = python(**more)
    assert SweepSettings.of_document(json.loads(json.dumps(sweep.document()))) == sweep


def test_objectives_go_the_way_that_is_better() -> None:
    assert python(objective=["weighted_f1", "cost_usd"]).objective == (
        SweepObjective("weighted_f1", "maximize"),
        SweepObjective("cost_usd", "minimize"),
    )
    assert python(objective="mse").objective == (SweepObjective("mse", "minimize"),)


def test_early_stopping_is_off_where_it_has_nothing_to_judge() -> None:
    prompt = lt.Prompt(MOOD, "{{ text }}", endpoint=ENDPOINT, name="few")
    assert not python(objective=["mse", "cost_usd"]).early_stopping.is_on
    assert not python(spec=prompt, space={"prompt.examples.count": [0, 4]}).early_stopping.is_on


def test_early_stopping_that_yaml_reads_as_false_is_off(folder: Path) -> None:
    assert not read(folder, SWEEP + "early_stopping: off\n").early_stopping.is_on


def test_a_spec_of_a_grid_is_named_behind_its_file(folder: Path) -> None:
    (folder / "many.yaml").write_text(SPEC + "grid: {seed: [1, 2]}\n")
    sweep = read(folder, SWEEP.replace("stars-tuned.yaml", "many.yaml#many.seed-2"))
    assert sweep.spec.seed == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spec": "none.yaml"}, "no spec file .*none.yaml"),
        ({"spec": 5}, r"5 \(int\); give the path"),
        ({"spec": None}, "give the path"),
        ({"space": None}, "space: it has dotted paths"),
        ({"space": {"tuning.epohcs": [1, 2]}}, "Did you mean tuning.epochs"),
        ({"objective": "weighted_f2"}, "no metric .weighted_f2.; it has: .*Did you mean weighted_f1"),
        ({"objective": "f1"}, "Did you mean weighted_f1"),
        ({"objective": [["mse"]]}, r"no metric a value \(list\)"),
        ({"objective": "cost_usd"}, "add a metric of quality"),
        ({"objective": ["mse", "mse"]}, "mse is there twice"),
        ({"objective": []}, "a metric, or a list"),
        ({"objective": 3}, "a metric, or a list"),
        ({"objective": ["mse", "cost_usd"], "early_stopping": "median"}, "needs one objective"),
        ({"sampler": "tree"}, "'tpe', 'random', 'qmc' or 'grid'"),
        ({"sampler": "grid", "space": {"tuning.learning_rate": {"uniform": [0.1, 1]}}}, "tuning.learning_rate"),
        ({"early_stopping": "meridian"}, "early_stopping.pruner.*'median'"),
        ({"early_stopping": {"pruner": "median", "pause": True}}, "pause"),
        ({"seed": [1, 2]}, "seed"),
        ({"seed": -1}, "seed"),
        ({"name": "two words"}, "name"),
        ({"objectives": "mse"}, "unknown key.*Did you mean objective"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(folder: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        read(folder, yaml.safe_dump({**yaml.safe_load(SWEEP), **changes}))
    assert str(folder / "stars-sweep.yaml") in str(caught.value)


def test_a_rating_metric_is_refused_for_labels_without_order_with_those_there_are() -> None:
    spec = lt.FineTune(MOOD, "{{ text }}", endpoint=ENDPOINT)
    with pytest.raises(SpecError, match=r"task 'mood', a classification, has no metric .qwk.; it has: accuracy"):
        python(spec=spec, objective="qwk")


def test_a_spec_that_is_tuned_already_is_refused() -> None:
    spec = lt.FineTune(MOOD, "{{ text }}", endpoint=ENDPOINT, name="mood").with_settings(
        {"tuned": {"model": "ft:x", "job": "ftjob-1", "base_model": "some-model"}}
    )
    with pytest.raises(SpecError, match="'mood' is tuned already"):
        python(spec=spec)


@pytest.mark.parametrize("text", ["", "[]", "technique: prompt", "spec: [", "spec: a\n\tspace: b"])
def test_a_file_that_is_no_sweep_is_told_apart(folder: Path, text: str) -> None:
    with pytest.raises(SpecError, match="is not a sweep|is not valid YAML"):
        read(folder, text)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SpecError, match=r"no sweep file sweep\.yaml"):
        read_sweep("sweep.yaml")

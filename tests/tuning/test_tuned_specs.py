"""The result of a job as a spec: it gets a name that holds, whatever the recipe and the file are called."""

from __future__ import annotations

from pathlib import Path

import pytest

import luthier as lt
from luthier.techniques import read_spec
from luthier.techniques.finetune import Tuned
from luthier.tuning.tuned_specs import TunedSpecFile, tuned_spec, write_spec

RESULT = Tuned(model="ft:some-model:me::abc", job="ftjob-1", base_model="some-model")


def recipe(task: lt.Task, name: str) -> lt.FineTune:
    return lt.FineTune(task, "Stars for: {{ text }}", endpoint=lt.openai("some-model"), name=name)


@pytest.mark.parametrize("file", ["über-uns.yaml", "_mine.yaml", "日本.yaml", f"{'long' * 20}.yaml"])
def test_a_result_is_written_whatever_its_file_is_called(file: str, task: lt.Task) -> None:
    written = write_spec(tuned_spec(recipe(task, "stars"), RESULT), TunedSpecFile(Path(file)))
    assert written == Path(file)
    found = read_spec(written)
    assert isinstance(found, lt.FineTune)
    assert found.tuned == RESULT


def test_the_checkpoints_of_a_recipe_with_a_long_name_have_names_of_their_own(task: lt.Task) -> None:
    long = recipe(task, "few.tuning-epochs-3.learning_rate_multiplier-0.3.batch_size-16")
    names = {tuned_spec(long, RESULT, f"{long.name}-step-{step}").name for step in (8, 16, 24)}
    assert len({long.name, tuned_spec(long, RESULT).name, *names}) == 5

"""The labels that a scored table is compared with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from luthier.errors import ModelError
from luthier.evaluation.population_stability import LabelMix
from luthier.packaging.label_mix import label_mix
from luthier.packaging.loading import find_model
from luthier.packaging.recorded_answers import FILE
from tests.measured_models import MeasuredModels

pytestmark = pytest.mark.slow


def mix_of(folder: Path) -> LabelMix | None:
    found = find_model(str(folder))
    return label_mix(found.fitted, found.folder)


@pytest.fixture
def folder(measured: MeasuredModels, tmp_path: Path) -> Path:
    """A copy of a model that was fitted on training rows and measured on others."""
    shutil.copytree(measured.folders["few"], tmp_path / "few")
    return tmp_path / "few"


def without_training_labels(folder: Path) -> Path:
    """The folder as an earlier Luthier wrote it."""
    file = folder / "data" / "luthier" / "fitted.json"
    facts = json.loads(file.read_text())
    del facts["train_labels"]
    file.write_text(json.dumps(facts))
    return folder / "data" / "luthier" / FILE


def test_training_rows_come_first_and_the_rows_it_was_measured_on_second(folder: Path) -> None:
    trained = mix_of(folder)
    assert trained is not None
    assert trained.of == "training rows"
    without_training_labels(folder)
    measured = mix_of(folder)
    assert measured is not None
    assert measured.of == "rows it was measured on"
    for mix in (trained, measured):
        assert sum(mix.shares.values()) == pytest.approx(1.0)
        assert mix.rows


def test_of_an_earlier_model_the_number_of_rows_is_not_known(folder: Path) -> None:
    file = without_training_labels(folder)
    recorded = json.loads(file.read_text())
    del recorded["rows_measured"]
    file.write_text(json.dumps(recorded))
    found = mix_of(folder)
    assert found is not None
    assert found.rows is None
    file.unlink()
    assert mix_of(folder) is None


def test_a_number_of_rows_that_is_none_is_refused(folder: Path) -> None:
    file = without_training_labels(folder)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rows_measured": -3}))
    with pytest.raises(ModelError, match="rows_measured"):
        mix_of(folder)

"""A fitted folder that came to harm on its way, or was made to do some."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from luthier.errors import ModelError
from luthier.spec import Fitted
from luthier.tasks.task import Rows, Task
from luthier.techniques.baseline import Baseline
from luthier.techniques.fitted_folder import read_fitted


def fitted_folder(tmp_path: Path) -> Path:
    task = Task("mood", labels=["good", "bad"])
    spec = Baseline(task, name="plain")
    rows = Rows(inputs=tuple({"text": f"word{n % 2} {n}"} for n in range(12)), labels=("good", "bad") * 6, text="text")
    conversation = spec.fit(rows)
    try:
        next(conversation)
    except StopIteration as ended:
        fitted: Fitted = ended.value
        return fitted.save(tmp_path / "fitted")
    raise AssertionError("a baseline asks nothing")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:200]),
    "emptied": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_bytes(b"no archive"),
    "another shape": lambda file: np.savez(file, idf=np.zeros(2), coef=np.zeros((1, 1)), intercept=np.zeros(9)),
    "another type": lambda file: np.savez(file, idf=np.array(["a"]), coef=np.array(["b"]), intercept=np.array(["c"])),
    "objects": lambda file: np.savez(file, idf=np.array([{}], dtype=object)),
    "names missing": lambda file: np.savez(file, other=np.zeros(1)),
    "a flipped byte": lambda file: file.write_bytes(file.read_bytes()[:300] + b"\xff" + file.read_bytes()[301:]),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_arrays_are_a_message(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    folder = fitted_folder(tmp_path)
    assert read_fitted(folder).arrays
    damage(folder / "arrays.npz")
    with pytest.raises(ModelError, match=r"its arrays\.npz is (damaged|missing)"):
        read_fitted(folder)


@pytest.mark.parametrize("damage", ["cut", "emptied", "text", "objects"])
def test_damaged_arrays_of_an_earlier_version_are_a_message_too(tmp_path: Path, damage: str) -> None:
    folder = fitted_folder(tmp_path)
    without_digests(folder)
    DAMAGES[damage](folder / "arrays.npz")
    with pytest.raises(ModelError, match=r"its arrays\.npz cannot be used"):
        read_fitted(folder)


@pytest.mark.slow
def test_arrays_that_unpack_to_too_much_are_not_unpacked(tmp_path: Path) -> None:
    folder = fitted_folder(tmp_path)
    without_digests(folder)
    with zipfile.ZipFile(folder / "arrays.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(21):
            with packed.open(f"{number}.npy", "w", force_zip64=True) as member:
                for _ in range(10):
                    member.write(bytes(10_000_000))
    with pytest.raises(ModelError, match="it unpacks to 2,100,000,000 bytes"):
        read_fitted(folder)


def without_digests(folder: Path) -> None:
    facts = json.loads((folder / "fitted.json").read_text())
    del facts["sha256"]
    (folder / "fitted.json").write_text(json.dumps(facts))


def test_counts_of_training_labels_come_back_and_others_are_refused(tmp_path: Path) -> None:
    file = fitted_folder(tmp_path) / "fitted.json"
    facts = json.loads(file.read_text())
    for given in ({"good": 6, "bad": 6}, {}):
        file.write_text(json.dumps(facts | {"train_labels": given}))
        assert read_fitted(file.parent).train_labels == given
    for wrong in ([6, 6], {"good": "6"}, {"good": -1}, {"good": True}):
        file.write_text(json.dumps(facts | {"train_labels": wrong}))
        with pytest.raises(ModelError, match="train_labels"):
            read_fitted(file.parent)

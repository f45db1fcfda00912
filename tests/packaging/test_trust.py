"""A packaged model is read without running anything that came with it."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import luthier as lt
from luthier.errors import ModelError
from luthier.packaging import flavor
from luthier.packaging.folder import LOADER_FILE

NEW = pd.DataFrame({"text": ["good day", "bad day"]})


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packaged baseline; MLflow takes a second to write one."""
    task = lt.Task("mood", labels=["bad", "good"])
    table = pd.DataFrame({"text": ["good day", "bad day"] * 4, "label": ["good", "bad"] * 4})
    folder = tmp_path_factory.mktemp("packaged") / "model"
    flavor.save_model(folder, lt.fit(lt.Baseline(task), table))
    return folder


@pytest.fixture
def model(packaged: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    return Path(shutil.copytree(packaged, tmp_path / "model"))


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """What hostile code writes when it runs."""
    return tmp_path / "ran"


def hostile(ran: Path) -> str:
    return f"import pathlib\npathlib.Path({str(ran)!r}).write_text('ran')\n"


def change(model: Path, **pyfunc: Any) -> None:
    """Writes entries of MLmodel's python_function flavor anew."""
    document = yaml.safe_load((model / "MLmodel").read_text())
    document["flavors"]["python_function"].update(pyfunc)
    (model / "MLmodel").write_text(yaml.safe_dump(document))


def labels(model: Path | str, **settings: Any) -> list[str]:
    return list(lt.load(str(model), **settings).score(NEW)["label"])


@pytest.mark.parametrize(
    "name",
    [
        "luthier_model.py",
        "luthier/__init__.py",
        "luthier_copy/luthier/__init__.py",
        "json.py",
        "sklearn/__init__.py",
        "sitecustomize.py",
        "usercustomize.py",
    ],
)
def test_code_in_the_folder_is_not_run(name: str, model: Path, ran: Path) -> None:
    file = model / "code" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(hostile(ran) + (LOADER_FILE.read_text() if name == LOADER_FILE.name else ""))
    before = list(sys.path)
    assert labels(model) == ["good", "bad"]
    assert not ran.exists()
    assert sys.path == before


def test_code_that_luthier_did_not_write_is_named(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert labels(model)
    assert not caplog.messages
    (model / "code" / "helper.py").write_text("")
    labels(model)
    assert "code/helper.py" in caplog.text
    assert "would run it" in caplog.text


def test_another_loader_is_refused_with_what_it_would_run_and_runs_when_trusted(model: Path, ran: Path) -> None:
    (model / "code" / "wrapped_for_trust_test.py").write_text(
        hostile(ran) + "from luthier_model import _load_pyfunc as _load_pyfunc\n"
    )
    change(model, loader_module="wrapped_for_trust_test")
    with pytest.raises(ModelError, match=r"import wrapped_for_trust_test .*nothing was run.*--trust \(trust=True"):
        labels(model)
    assert not ran.exists()
    assert labels(model, trust=True) == ["good", "bad"]
    assert ran.exists()


class Bomb:
    """Runs when it is unpickled."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.ran,)


def test_nothing_is_unpickled(model: Path, ran: Path) -> None:
    (model / "python_model.pkl").write_bytes(pickle.dumps(Bomb(ran)))
    change(model, python_model="python_model.pkl")
    assert labels(model) == ["good", "bad"]
    change(model, loader_module="mlflow.pyfunc.model")
    with pytest.raises(ModelError, match=r"unpickle python_model\.pkl"):
        labels(model)
    assert not ran.exists()


@pytest.mark.parametrize("data", ["../elsewhere", "/etc", "data/../../elsewhere", "other", None, ["data/luthier"]])
def test_data_outside_the_folder_is_refused(data: Any, model: Path) -> None:
    shutil.copytree(model / "data" / "luthier", model.parent / "elsewhere")
    change(model, data=data)
    with pytest.raises(ModelError, match="its MLmodel has data"):
        labels(model)


@pytest.mark.parametrize(
    "name", ["MLmodel", "data", "data/luthier", "data/luthier/spec.yaml", "data/luthier/fitted.json",
             "data/luthier/arrays.npz", "data/luthier/files"],
)  # fmt: skip
def test_a_link_in_the_folder_is_refused(name: str, model: Path) -> None:
    place = model / name
    if place.exists():
        place.rename(model.parent / "outside")
    else:
        (model.parent / "outside").mkdir()
    place.symlink_to(model.parent / "outside")
    with pytest.raises(ModelError, match=r"is a symbolic link to .*cp -rL"):
        labels(model)


def test_a_task_elsewhere_is_not_read(model: Path) -> None:
    file = model / "data" / "luthier" / "spec.yaml"
    document = yaml.safe_load(file.read_text())
    (model.parent / "task.yaml").write_text(yaml.safe_dump(document["task"]))
    file.write_text(yaml.safe_dump(document | {"task": "../../../task.yaml"}))
    with pytest.raises(ModelError, match="does not hold its task"):
        labels(model)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "flavors: 3", "flavors: {}", "{", "!!python/object/apply:os.system [true]", "[" * 20_000],
)
def test_a_folder_that_is_no_luthier_model_is_refused_without_a_traceback(text: str, model: Path) -> None:
    (model / "MLmodel").write_text(text)
    with pytest.raises(ModelError):
        labels(model)


def test_it_reads_what_mlflow_reads(model: Path) -> None:
    import mlflow

    theirs = mlflow.pyfunc.load_model(str(model)).predict(NEW)
    ours = lt.load(str(model)).score(NEW)
    for column in ("label", "probability", "p_bad", "p_good", "state"):
        assert list(ours[column]) == list(theirs[column])


@pytest.mark.slow
def test_the_command_runs_nothing_of_the_folder(model: Path, ran: Path, tmp_path: Path) -> None:
    """The whole program in the folder itself, as `luthier score .` by someone who looks into a download."""
    for name in ("sitecustomize.py", "code/sitecustomize.py", "code/json.py", "code/luthier_model.py", "json.py"):
        (model / name).write_text(hostile(ran))
    NEW.to_csv(tmp_path / "new.csv", index=False)
    program = "import sys; sys.path.remove(''); from luthier.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "score", "--wait", ".", str(tmp_path / "new.csv"), str(tmp_path / "out.csv")],
        cwd=model, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(pd.read_csv(tmp_path / "out.csv")["label"]) == ["good", "bad"]
    assert not ran.exists()

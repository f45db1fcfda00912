"""A packaged model is read without running anything that came with it."""

from __future__ import annotations

import json
import os
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
from typer.testing import CliRunner

import luthier as lt
from luthier.cli.main import app
from luthier.errors import ModelError, UserError
from luthier.packaging import flavor
from luthier.packaging.folder import LOADER_FILE
from luthier.providers.endpoint import Price

FREE = Price(input_usd_per_million=0, output_usd_per_million=0)
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
    with pytest.raises(ModelError, match=r"wrapped_for_trust_test.*--trust.*trust=True"):
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


@pytest.mark.parametrize("name", ["MLmodel", "data/luthier/spec.yaml", "data/luthier/files/x"])
def test_a_pipe_in_the_folder_is_refused_and_not_waited_for(name: str, model: Path) -> None:
    (model / name).unlink(missing_ok=True)
    (model / name).parent.mkdir(exist_ok=True)
    os.mkfifo(model / name)
    with pytest.raises(ModelError, match="a pipe or a device"):
        labels(model)


@pytest.mark.parametrize("name", ["../spec.yaml", "/dev/zero", "files/../../../MLmodel", "fitted.json"])
def test_digests_name_files_of_the_folder_only(name: str, model: Path) -> None:
    file = model / "data/luthier/fitted.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sha256": {name: "0" * 64}}))
    with pytest.raises(ModelError, match="which no fitted folder holds"):
        labels(model)


def test_a_folder_among_the_files_is_refused(model: Path) -> None:
    (model / "data/luthier/files/folder").mkdir(parents=True)
    with pytest.raises(ModelError, match="cannot be read"):
        labels(model)


@pytest.fixture
def asks(model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packaged folder whose rows go, with a key, to an address that only the folder names."""
    monkeypatch.setenv("OPENAI_API_KEY", "planted-planted-planted")
    task = lt.Task("mood", labels=["bad", "good"])
    shutil.rmtree(model)
    spec = lt.Prompt(task, "{{ text }}", endpoint=lt.openai("m", base_url="http://127.0.0.1:9/v1", price=FREE))
    flavor.save_model(model, lt.fit(spec))
    return model


def test_a_folder_sends_no_key_to_an_address_of_its_own_unless_that_is_agreed_to(
    asks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    NEW.to_csv(tmp_path / "new.csv", index=False)
    command = ["score", str(asks), str(tmp_path / "new.csv"), str(tmp_path / "out.csv")]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, UserError)
    assert "the key in OPENAI_API_KEY, to http://127.0.0.1:9/v1" in str(done.exception)
    assert "Add --yes" in str(done.exception)
    assert "sends its rows, and the key in OPENAI_API_KEY, to http://127.0.0.1:9/v1" in caplog.text


def test_an_address_that_the_user_names_is_not_asked_about(asks: Path) -> None:
    own = {"provider": "compatible", "base_url": "http://127.0.0.1:8/v1", "api_key_env": "OPENAI_API_KEY"}
    assert lt.load(str(asks)).sends_key is not None
    assert lt.load(str(asks), own).sends_key is None


@pytest.mark.parametrize(
    ("endpoint", "home"),
    [
        (lt.openai("m"), True),
        (lt.azure("m", "https://mine.openai.azure.com"), True),
        (lt.azure("m", "https://mine.openai.azure.com.example.org"), False),
        (lt.openai("m", base_url="https://api.openai.com.example.org/v1"), False),
        (lt.openai("m", base_url="http://api.openai.com/v1"), False),
        (lt.openai("m", api_key_env="AWS_SECRET_ACCESS_KEY"), False),
        (lt.compatible("m", "https://api.openai.com/v1", api_key_env="OPENAI_API_KEY"), False),
    ],
)
def test_a_key_is_at_home_with_its_own_provider(endpoint: lt.Endpoint, home: bool) -> None:
    assert endpoint.is_at_home is home


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

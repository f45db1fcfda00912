"""Code that travels: what a model carries for environments without luthier, and what the wheel holds."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import pytest

import luthier as lt
from luthier.endpoints import Endpoint
from luthier_local import LocalServer
from tests.conftest import REPOSITORY, priced, standing_store, stars
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.slow]

ANSWER = """
import importlib.util, json, sys
assert importlib.util.find_spec("luthier") is None
import mlflow, pandas
*_, model = [mlflow.pyfunc.load_model(folder) for folder in sys.argv[1:]]
found = model.predict(pandas.DataFrame({"text": ["a lovely day", "an awful day"]}))
import luthier
print(json.dumps({"labels": found["label"].tolist(), "luthier": luthier.__file__}))
"""


def logged(task: lt.Task, endpoint: Endpoint) -> Path:
    spec = lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=endpoint, name="zero")
    return Path(mlflow.artifacts.download_artifacts(lt.log(spec).uri))


def answer_without_luthier(*folders: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Loads the models one after the other in one process and asks the last."""
    # -S: the development install of luthier is not found, only what lies in the environment's folder itself.
    return subprocess.run(
        [sys.executable, "-S", "-c", ANSWER, *map(str, folders)],
        env={**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")},
        cwd=cwd, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
    )  # fmt: skip


@pytest.fixture(scope="module")
def carried(empty_store: Path, standing_server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code that a model with a remote endpoint carries."""
    with standing_store(tmp_path_factory.mktemp("carried"), empty_store):
        return logged(stars(), priced(standing_server)) / "code" / "luthier_copy"


def test_a_model_with_a_remote_endpoint_carries_no_embedded_server(carried: Path) -> None:
    assert [folder.name for folder in carried.iterdir()] == ["luthier"]


def test_a_model_carries_nothing_that_only_compares_trains_or_deploys_models(carried: Path) -> None:
    rooms = {folder.name for folder in (carried / "luthier").iterdir() if folder.is_dir()}
    assert not rooms & {"api", "cli", "deployments", "experiments", "model_catalogue", "reporting", "responsible_ai"}


def test_a_model_carries_every_module_that_an_answer_imports(carried: Path) -> None:
    source = REPOSITORY / "src"
    names = {file: ".".join(file.relative_to(source).with_suffix("").parts) for file in source.rglob("*.py")}
    files = {name.removesuffix(".__init__"): file for file, name in names.items()}
    wanted, needed = ["luthier.packaging.model"], set[str]()
    while wanted:
        name = wanted.pop()
        needed.add(name)
        above = {name.rpartition(".")[0]}
        wanted += ((imported(ast.parse(files[name].read_text("utf-8")).body) | above) & set(files)) - needed
    assert len(needed) > 100
    assert [name for name in needed if not (carried / files[name].relative_to(source)).is_file()] == []


def imported(statements: Sequence[ast.AST]) -> set[str]:
    """What statements import, also within functions, but not for type checkers alone."""
    found = set()
    for one in statements:
        if isinstance(one, ast.ImportFrom):
            found |= {str(one.module), *(f"{one.module}.{alias.name}" for alias in one.names)}
        elif isinstance(one, ast.Import):
            found |= {alias.name for alias in one.names}
        elif not isinstance(one, ast.If) or ast.unparse(one.test) != "TYPE_CHECKING":
            inner = ("body", "orelse", "handlers", "finalbody")
            found |= imported([each for name in inner for each in _listed(getattr(one, name, []))])
    return found


def _listed(body: Any) -> list[ast.AST]:
    return body if isinstance(body, list) else []


def test_a_local_model_answers_from_the_code_it_carries(
    task: lt.Task, clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "0.3")
    folder = logged(task, lt.embedded("deterministic"))
    done = answer_without_luthier(folder, cwd=clean_home)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert Path(said["luthier"]).is_relative_to(folder)
    assert set(said["labels"]) <= set(task.labels)
    log = (clean_home / "local" / "server.log").read_text()
    assert "Traceback" not in log


def test_a_local_model_answers_after_one_that_carries_no_embedded_server(
    task: lt.Task, endpoint: Endpoint, clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_LOCAL_LINGER_SECONDS", "0.3")
    folders = logged(task, endpoint), logged(task, lt.embedded("deterministic"))
    done = answer_without_luthier(*folders, cwd=clean_home)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_wheel_holds_both_packages(tmp_path: Path) -> None:
    uv = REPOSITORY / ".tools" / "bin" / "uv"
    command = [str(uv) if uv.exists() else "uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path)]
    subprocess.run([*command, str(REPOSITORY)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"luthier/__init__.py", "luthier/__main__.py", "luthier_local/__main__.py"} <= set(names)
    assert not [name for name in names if "test" in name.split("/")[0]]
    # Files without which no dashboard is made.
    program = "luthier/responsible_ai/isolated"
    assert {f"{program}/launch.py", f"{program}/requirements.txt"} <= set(names)

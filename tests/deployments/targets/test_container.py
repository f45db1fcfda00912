"""The container target: what is in the folder, what never is, and what is refused."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml

import luthier as lt
from luthier.deployments.deployment_setup import DeploymentSetup
from luthier.errors import DataError, EndpointError, MissingPart, ModelError, UserError
from luthier.serving.settings import ServerSettings
from luthier_local import LocalServer
from tests.conftest import KEY, REPOSITORY, reviews, stars
from tests.deployments.targets.stand_in_program import put_on_path
from tests.patience import PATIENCE_SECONDS

ON_THE_HOST = {"base_url": "http://host.docker.internal:9000/v1"}


def setup_of(
    to: Path | None = Path("build"), endpoint: Mapping[str, Any] = ON_THE_HOST, **given: Any
) -> DeploymentSetup:
    return DeploymentSetup("models:/stars@champion", "container", name="stars", to=to, endpoint=endpoint, **given)


@pytest.fixture(autouse=True)
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hashes come from what uv has fetched before; without it there are none, which these tests do not mind."""
    monkeypatch.setenv("UV_OFFLINE", "1")


@pytest.fixture
def built(model: lt.Model) -> Path:
    setup_of().run()
    return Path("build").absolute()


def compose_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))
    return found


def test_a_run_says_where_the_folder_is_and_of_which_version(built: Path) -> None:
    (run,) = mlflow.search_runs(
        search_all_experiments=True, filter_string="tags.`luthier.kind` = 'deploy'", output_format="list"
    )
    assert run.data.params == {"deployment": "stars", "target": "container", "folder": str(built)}
    assert (run.info.run_name, run.data.tags["luthier.model_version"]) == ("deploy stars", "stars/1")


def test_the_folder_holds_what_an_image_needs_and_nothing_else(built: Path) -> None:
    assert sorted(entry.name for entry in built.iterdir()) == [
        ".dockerignore", "Dockerfile", "README.md", "compose.yaml", "endpoint.yaml", "luthier-0.1.0-py3-none-any.whl",
        "model", "prometheus.yml", "requirements.lock", "written.json",
    ]  # fmt: skip
    kept = {file.relative_to(built / "model").as_posix() for file in (built / "model").rglob("*") if file.is_file()}
    assert {"MLmodel", "data/luthier/spec.yaml", "data/luthier/fitted.json"} <= kept
    assert not [name for name in kept if not name.startswith(("MLmodel", "data/", "input_example"))]


def test_no_file_holds_a_key_a_path_of_this_machine_or_a_package_index(built: Path, tmp_path: Path) -> None:
    files = {file: file.read_bytes() for file in built.rglob("*") if file.is_file()}
    wheel = next(built.glob("*.whl"))
    with zipfile.ZipFile(io.BytesIO(files.pop(wheel))) as archive:
        files |= {Path(name): archive.read(name) for name in archive.namelist()}
    for file, content in files.items():
        for forbidden in (KEY, str(tmp_path), str(REPOSITORY), "--index-url", "--find-links", "file://"):
            if file.suffix == ".py" or file.name == "METADATA":
                continue
            assert forbidden.encode() not in content, (file, forbidden)
        assert KEY.encode() not in content


def test_the_wheel_is_the_luthier_that_runs_here(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        names = archive.namelist()
        source = archive.read("luthier/deployments/targets/container.py")
        template = archive.read("luthier/deployments/targets/files/Dockerfile.j2")
    assert source == (REPOSITORY / "src/luthier/deployments/targets/container.py").read_bytes()
    assert template
    assert "luthier-0.1.0.dist-info/entry_points.txt" in names
    assert not [name for name in names if name.endswith(".pyc")]


def test_every_package_is_pinned_and_the_server_is_among_them(built: Path) -> None:
    lines = [
        line for line in (built / "requirements.lock").read_text(encoding="utf-8").splitlines() if line[:1].isalnum()
    ]
    assert all("==" in line for line in lines)
    names = {line.partition("==")[0] for line in lines}
    assert {"uvicorn", "starlette", "h11", "aiohttp", "numpy", "pydantic-core"} <= names
    # A server of Luthier's models needs neither, and they would be most of the image.
    assert not {"mlflow", "pandas"} & names


@pytest.mark.slow
@pytest.mark.parametrize("asks", [True, False])
def test_hadolint_finds_nothing_in_the_dockerfile(
    built: Path, asks: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if asks:
        setup_of(settings=ServerSettings(budget_usd_per_day=5)).run()
    else:
        lt.log(lt.Baseline(stars(), name="base"), train=reviews(80, seed=8), register="base")
        # Without uv there are no hashes.
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        DeploymentSetup("models:/base/1", "container", name="base", to=built).run()
        assert not (built / "endpoint.yaml").exists()
        assert "--require-hashes" not in (built / "Dockerfile").read_text(encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", "--no-fail", "--format", "json", built / "Dockerfile"],
        capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert json.loads(done.stdout) == []
    assert "hadolint" not in (built / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_compose_file_is_valid_against_the_schema_of_compose(built: Path) -> None:
    def checked() -> int:
        program = str(Path(sys.executable).parent / "check-jsonschema")
        command = [program, "--builtin-schema", "vendor.compose-spec", str(built / "compose.yaml")]
        return subprocess.run(command, stdout=subprocess.DEVNULL, check=False, timeout=PATIENCE_SECONDS).returncode

    assert checked() == 0
    setup_of(settings=ServerSettings(budget_usd_per_day=5)).run()
    assert checked() == 0
    document = compose_of(built)
    document["services"]["server"]["read_onyl"] = True
    (built / "compose.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    assert checked() == 1


def test_the_server_is_not_root_and_writes_nowhere_but_to_tmp(built: Path) -> None:
    dockerfile = (built / "Dockerfile").read_text(encoding="utf-8")
    assert "\nUSER 10001:10001\n" in dockerfile
    assert "curl" not in dockerfile
    server = compose_of(built)["services"]["server"]
    assert server["read_only"] is True and server["cap_drop"] == ["ALL"]
    assert server["security_opt"] == ["no-new-privileges:true"]
    assert [mount.partition(":")[0] for mount in server["tmpfs"]] == ["/tmp"]
    assert server["ports"] == ["127.0.0.1:8080:8080"]


def test_keys_are_mounted_and_variables_are_passed_by_name(built: Path) -> None:
    server = compose_of(built)["services"]["server"]
    assert server["environment"] == ["STARS_KEY"]
    assert [(mount["source"], mount["target"], mount["read_only"]) for mount in server["volumes"]] == [
        ("../stars-keys", "/run/luthier", True)
    ]


def test_what_was_spent_today_outlives_a_container_with_a_budget(model: lt.Model) -> None:
    setup_of(settings=ServerSettings(budget_usd_per_day=5)).run()
    server = compose_of(Path("build"))["services"]["server"]
    assert server["environment"] == ["LUTHIER_HOME=/var/lib/luthier", "STARS_KEY"]
    assert {"type": "volume", "source": "spending", "target": "/var/lib/luthier"} in server["volumes"]
    dockerfile = Path("build/Dockerfile").read_text(encoding="utf-8")
    assert "-o 10001 -g 10001 /var/lib/luthier" in dockerfile and '"--budget-per-day", "5"' in dockerfile


def test_a_server_on_the_machine_that_runs_the_container_is_asked_by_its_name_inside(built: Path) -> None:
    endpoint = yaml.safe_load((built / "endpoint.yaml").read_text(encoding="utf-8"))["endpoint"]
    assert endpoint["base_url"] == ON_THE_HOST["base_url"]
    assert compose_of(built)["services"]["server"]["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_the_endpoint_file_gives_the_model_that_was_planned(built: Path) -> None:
    from luthier.packaging.loading import find_model
    from luthier.techniques.endpoint_files import read_endpoint_for

    packed = find_model(str(built / "model"))
    moved = find_model(str(built / "model"), read_endpoint_for(built / "endpoint.yaml", packed.fitted.spec))
    planned = find_model("models:/stars@champion", ON_THE_HOST)
    assert moved.fitted.spec.endpoint == planned.fitted.spec.endpoint
    assert moved.sends_key is None


def test_what_the_file_leaves_out_does_not_come_back_from_the_model(model: lt.Model) -> None:
    from luthier.packaging.loading import find_model
    from luthier.techniques.endpoint_files import read_endpoint_for

    setup_of(endpoint={**ON_THE_HOST, "api_key_env": None, "price": None}).run()
    packed = find_model("build/model")
    moved = find_model("build/model", read_endpoint_for("build/endpoint.yaml", packed.fitted.spec))
    assert moved.fitted.spec.endpoint is not None and moved.fitted.spec.endpoint.key_variable is None
    assert "environment" not in compose_of(Path("build"))["services"]["server"]


def test_a_second_run_updates_the_folder_and_a_foreign_one_is_left_alone(built: Path) -> None:
    setup_of(settings=ServerSettings(timeout_seconds=7)).run()
    assert '"--timeout", "7"' in (built / "Dockerfile").read_text(encoding="utf-8")
    (built / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="notes.txt"):
        setup_of().run()
    assert (built / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_plan_writes_nothing_and_shows_every_text_file(model: lt.Model) -> None:
    plan = setup_of().plan()
    assert not Path("build").exists()
    assert {"Dockerfile", ".dockerignore", "compose.yaml", "prometheus.yml", "README.md", "requirements.lock"} < set(
        plan.documents
    )
    assert "models:/stars/1" in str(plan)


@pytest.mark.slow
def test_an_alias_that_moves_after_the_plan_does_not_change_what_is_written(
    model: lt.Model, server: LocalServer
) -> None:
    setup = setup_of()
    setup.plan()
    other = lt.Baseline(stars(), name="other")
    lt.log(other, train=reviews(80, seed=8), register="stars", alias="champion")
    setup.run()
    assert "name: few" in Path("build/model/data/luthier/spec.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("endpoint", "named"),
    [
        ({}, r"127\.0\.0\.1 is the container itself"),
        ({"base_url": "http://localhost:8000/v1"}, r"localhost is the container itself"),
        ({"base_url": "http://[::1]:8000/v1"}, r"::1 is the container itself"),
        ({"provider": "local", "base_url": None, "api_key_env": None}, "embedded server"),
    ],
)
def test_a_model_that_asks_this_machine_is_refused_with_what_to_do(
    model: lt.Model, endpoint: dict[str, Any], named: str
) -> None:
    with pytest.raises(EndpointError, match=rf"{named}.*--endpoint FILE"):
        setup_of(endpoint=endpoint).plan()


def test_settings_that_make_no_sense_in_a_container_are_refused(model: lt.Model, tmp_path: Path) -> None:
    for settings in (ServerSettings(without_key=True), ServerSettings(keys_file=tmp_path / "keys")):
        with pytest.raises(UserError, match="keys"):
            setup_of(settings=settings).plan()
    with pytest.raises(UserError, match="replicas: container has build, limits_share"):
        setup_of(config={"replicas": "2"}).plan()
    with pytest.raises(UserError, match="--to"):
        setup_of(to=None).plan()
    with pytest.raises(UserError, match="limits_share"):
        setup_of(config={"limits_share": "2"}).plan()


def test_a_server_that_shares_its_account_gets_a_part_of_the_limits(model: lt.Model) -> None:
    setup_of(
        endpoint={**ON_THE_HOST, "requests_per_minute": 600, "concurrency": 10}, config={"limits_share": "0.25"}
    ).run()
    limits = yaml.safe_load(Path("build/endpoint.yaml").read_text(encoding="utf-8"))["endpoint"]["limits"]
    assert limits == {"requests_per_minute": 150.0, "concurrency": 2}


ENGINE = """#!{python}
import json, os, sys
with open(os.environ["RECORD"], "a") as record:
    record.write(json.dumps([sys.argv[1:], os.getcwd()]) + "\\n")
sys.exit(int(os.environ["CODE"]))
"""


@pytest.fixture
def engine_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program named docker that writes down how it was called; no engine runs where the tests do."""
    monkeypatch.setenv("CODE", "0")
    return put_on_path("docker", ENGINE, tmp_path, monkeypatch)


@pytest.mark.slow
def test_the_image_is_built_where_that_is_asked_for(
    model: lt.Model, engine_on_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup_of(config={"build": "true"}).run()
    assert json.loads(engine_on_path.read_text(encoding="utf-8")) == [
        ["build", "--tag", "luthier-stars:1", "."], str(Path("build").absolute()),
    ]  # fmt: skip
    monkeypatch.setenv("CODE", "1")
    with pytest.raises(UserError, match=r"exit code 1.*docker build --tag luthier-stars:1"):
        setup_of(config={"build": "true"}).run()


def test_building_without_an_engine_is_refused(model: lt.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with pytest.raises(MissingPart, match="docker nor podman"):
        setup_of(config={"build": "true"}).plan()


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A model that Luthier did not log; loading it unpickles a class of scikit-learn's."""
    from sklearn.dummy import DummyClassifier

    folder = tmp_path / "foreign"
    mlflow.sklearn.save_model(
        DummyClassifier().fit([[0], [1]], [0, 1]), folder, pip_requirements=["scikit-learn"],
        input_example=pd.DataFrame({"amount": [7]}), serialization_format="cloudpickle",
    )  # fmt: skip
    return folder


@pytest.mark.slow
def test_any_model_of_mlflow_is_packed_with_its_packages_where_its_code_is_trusted(foreign: Path) -> None:
    with pytest.raises(ModelError, match="--trust"):
        DeploymentSetup(str(foreign), "container", name="foreign", to=Path("build")).plan()
    plan = DeploymentSetup(str(foreign), "container", name="foreign", to=Path("build"), trust=True).plan()
    assert '"--trust"' in plan.documents["Dockerfile"]
    lock = {line.partition("==")[0] for line in plan.documents["requirements.lock"].splitlines() if line[:1].isalnum()}
    assert {"mlflow", "pandas", "scikit-learn", "uvicorn"} <= lock
    assert '"amount": 7' in plan.documents["README.md"]
    DeploymentSetup(str(foreign), "container", name="foreign", to=Path("build"), trust=True).run()
    assert {file.name for file in foreign.iterdir()} == {file.name for file in Path("build/model").iterdir()}

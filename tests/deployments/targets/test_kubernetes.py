"""The Kubernetes target: manifests that the schemas accept, what they hold, and what kubectl is given."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import mlflow
import pytest
import yaml

import luthier as lt
from luthier.deployments.deployment_setup import DeploymentSetup
from luthier.deployments.plan import DeploymentPlan
from luthier.deployments.targets.kubernetes import label_value
from luthier.errors import EndpointError, MissingPart, ModelError, UserError
from luthier.packaging.loading import located
from luthier.serving.settings import ServerSettings
from tests.conftest import KEY
from tests.deployments.targets.stand_in_program import put_on_path
from tests.patience import PATIENCE_SECONDS

UPSTREAM = {"base_url": "https://llm.example.com/v1", "requests_per_minute": 600}
IMAGE = {"image": "stars:3"}


def setup_of(
    config: Mapping[str, str] = IMAGE, endpoint: Mapping[str, Any] = UPSTREAM, uri: str = "models:/stars@champion",
    **given: Any,
) -> DeploymentSetup:  # fmt: skip
    return DeploymentSetup(uri, "kubernetes", name="stars", endpoint=endpoint, config=config, **given)


def documents_of(plan: DeploymentPlan) -> dict[str, dict[str, Any]]:
    found = [yaml.safe_load(text) for text in plan.documents.values()]
    return {document["kind"]: document for document in found}


def refuse_invalid(plan: DeploymentPlan) -> None:
    version = kubernetes_validate.latest_version()
    for text in plan.documents.values():
        kubernetes_validate.validate(yaml.safe_load(text), version, strict=True)


@pytest.fixture
def documents(model: lt.Model) -> dict[str, dict[str, Any]]:
    return documents_of(setup_of().plan())


def pod_of(documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = documents["Deployment"]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize(
    "config",
    [
        IMAGE,
        {"image": "registry:5000/team/stars:3", "namespace": "production", "pull_secret": "pull", "replicas": "3",
         "most_replicas": "3", "cpu": "2", "memory": "2Gi", "limits_share": "0.5"},
    ],
)  # fmt: skip
def test_every_document_is_valid_against_the_schemas(model: lt.Model, config: dict[str, str]) -> None:
    plan = setup_of(config, settings=ServerSettings(budget_usd_per_day=5, port=80)).plan()
    refuse_invalid(plan)
    assert list(documents_of(plan)) == [
        "ServiceAccount", "ConfigMap", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget",
        "NetworkPolicy",
    ]  # fmt: skip


def test_a_field_that_kubernetes_does_not_know_would_be_found(documents: dict[str, dict[str, Any]]) -> None:
    pod_of(documents)["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(documents["Deployment"], kubernetes_validate.latest_version(), strict=True)


def test_pods_meet_the_restricted_standard(documents: dict[str, dict[str, Any]]) -> None:
    pod = pod_of(documents)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    server = pod["containers"][0]
    assert server["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert [mount["mountPath"] for mount in server["volumeMounts"] if not mount.get("readOnly")] == ["/tmp"]


def test_a_pod_that_leaves_has_time_for_its_longest_request(model: lt.Model) -> None:
    documents = documents_of(setup_of(settings=ServerSettings(timeout_seconds=120)).plan())
    assert pod_of(documents)["terminationGracePeriodSeconds"] >= 120 + 5 + 10
    assert "120" in pod_of(documents)["containers"][0]["args"]
    assert documents["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_secrets_are_named_and_never_written(model: lt.Model) -> None:
    plan = setup_of().plan()
    assert KEY not in str(plan)
    assert pod_of(documents_of(plan))["containers"][0]["env"] == [
        {"name": "STARS_KEY", "valueFrom": {"secretKeyRef": {"name": "stars-upstream", "key": "STARS_KEY"}}}
    ]
    assert "Secret" not in documents_of(plan)


def test_the_autoscaler_follows_requests_in_flight_and_owns_the_number_of_pods(
    documents: dict[str, dict[str, Any]],
) -> None:
    metric = documents["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]
    assert metric == {
        "metric": {"name": "luthier_in_flight_requests"},
        "target": {"type": "AverageValue", "averageValue": "48"},  # three quarters of the 64 calls in flight
    }
    assert "replicas" not in documents["Deployment"]["spec"]


def test_all_pods_together_keep_to_the_limits_of_the_account_and_to_the_budget(model: lt.Model) -> None:
    documents = documents_of(
        setup_of({**IMAGE, "most_replicas": "4"}, settings=ServerSettings(budget_usd_per_day=10)).plan()
    )
    endpoint = yaml.safe_load(documents["ConfigMap"]["data"]["endpoint.yaml"])["endpoint"]
    assert endpoint["limits"] == {"requests_per_minute": 150.0, "concurrency": 64}
    arguments = pod_of(documents)["containers"][0]["args"]
    assert arguments[arguments.index("--budget-per-day") + 1] == "2.5"


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("https://llm.example.com/v1", {"ports": [{"port": 443, "protocol": "TCP"}]}),
        ("http://10.1.2.3:8000/v1",
         {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"port": 8000, "protocol": "TCP"}]}),
        ("http://vllm:8000/v1", {"to": [{"podSelector": {}}]}),
        ("http://vllm.models.svc.cluster.local/v1",
         {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "models"}}}]}),
    ],
)  # fmt: skip
def test_pods_reach_names_and_who_the_model_asks_and_nothing_else(
    model: lt.Model, address: str, rule: dict[str, Any]
) -> None:
    plan = setup_of(endpoint={"base_url": address}).plan()
    refuse_invalid(plan)
    dns, upstream = documents_of(plan)["NetworkPolicy"]["spec"]["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert {key: upstream[key] for key in rule} == rule
    # Not the address that hands out the credentials of the machine.
    assert "0.0.0.0/0" not in json.dumps(upstream) or "169.254.0.0/16" in json.dumps(upstream)


def test_long_and_strange_versions_become_labels_that_kubernetes_takes() -> None:
    values = [label_value(text) for text in ("3", "a" * 63, "a" * 64, "a" * 65, "größe 1", "größe 2", "---", "1.2_b")]
    assert len(set(values)) == len(values)
    assert all(len(value) <= 63 and value.isascii() and value[0].isalnum() and value[-1].isalnum() for value in values)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({}, "--target container.*image=NAME:TAG"),
        ({"image": "stars"}, "tag or a digest"),
        ({"image": "stars:3\nx: y"}, "tag or a digest"),
        ({**IMAGE, "namespace": "Prod uction"}, "namespace=Prod uction"),
        ({**IMAGE, "replicas": "none"}, "replicas=none"),
        ({**IMAGE, "replicas": "3", "most_replicas": "2"}, "fewer than replicas=3"),
        ({**IMAGE, "memory": "much"}, "memory=much"),
        ({**IMAGE, "gpu": "1"}, "gpu: kubernetes has image, namespace"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_allowed(model: lt.Model, config: dict[str, str], named: str) -> None:
    with pytest.raises(UserError, match=named):
        setup_of(config).plan()


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000/v1", "http://host.docker.internal:8000/v1"])
def test_a_model_that_asks_this_machine_is_refused(model: lt.Model, address: str) -> None:
    with pytest.raises(EndpointError, match="--endpoint FILE"):
        setup_of(endpoint={"base_url": address}).plan()


def test_the_manifests_are_written_where_asked_and_nothing_is_applied(
    model: lt.Model, kubectl: Path, tmp_path: Path
) -> None:
    deployed = setup_of(to=tmp_path / "manifests").run()
    file = tmp_path / "manifests" / "kubernetes.yaml"
    assert f"kubectl apply --server-side -f {file}" in str(deployed)
    assert len(list(yaml.safe_load_all(file.read_text(encoding="utf-8")))) == 7
    assert not kubectl.exists()


KUBECTL = """#!{python}
import json, os, sys
with open(os.environ["RECORD"], "a") as record:
    record.write(json.dumps([sys.argv[1:], sys.stdin.read()]) + "\\n")
if "get" in sys.argv:
    print(os.environ["SECRETS"])
elif os.environ.get("REFUSED"):
    print(os.environ["REFUSED"], file=sys.stderr)
    sys.exit(1)
"""


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program named kubectl that writes down what it is given: the real one and a cluster cannot be had here."""
    monkeypatch.setenv("SECRETS", "secret/stars-keys\nsecret/stars-upstream")
    return put_on_path("kubectl", KUBECTL, tmp_path, monkeypatch)


def calls(record: Path) -> list[tuple[list[str], str]]:
    return [tuple(json.loads(line)) for line in record.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_kubectl_is_given_every_document_once(model: lt.Model, kubectl: Path) -> None:
    setup = setup_of({**IMAGE, "namespace": "production"})
    deployed = setup.run()
    (asked, _), (arguments, given) = calls(kubectl)
    assert asked[:4] == ["--namespace", "production", "get", "secret"]
    assert arguments == [
        "--namespace", "production", "apply", "--server-side", "--field-manager", "luthier", "-f", "-"
    ]  # fmt: skip
    assert [document["kind"] for document in yaml.safe_load_all(given)] == list(documents_of(setup.plan()))
    assert "kubectl --namespace production rollout status deployment/stars" in str(deployed)


@pytest.mark.slow
def test_nothing_is_applied_while_a_secret_is_missing(
    model: lt.Model, kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRETS", "secret/stars-keys")
    with pytest.raises(UserError, match=r"no Secret stars-upstream(?s:.*)create secret generic stars-upstream"):
        setup_of().run()
    assert not [arguments for arguments, _ in calls(kubectl) if "apply" in arguments]


@pytest.mark.slow
def test_what_the_cluster_says_against_it_is_passed_on(
    model: lt.Model, kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSED", "Error from server (Forbidden): deployments.apps is forbidden")
    with pytest.raises(UserError, match="exit code 1: Error from server"):
        setup_of().run()


def test_a_plan_needs_no_kubectl_and_applying_does(model: lt.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    setup = setup_of()
    assert setup.plan().documents
    with pytest.raises(MissingPart, match="no kubectl on PATH.*--to FOLDER"):
        setup.run()


FETCHED = {**IMAGE, "fetch_image": "mlflow:3"}


def test_a_model_in_a_store_on_this_machine_is_not_fetched_by_pods(model: lt.Model) -> None:
    with pytest.raises(ModelError, match=r"sqlite:///.*pods cannot reach.*--target container"):
        setup_of(FETCHED).plan()


def test_a_model_in_a_folder_is_not_fetched_by_pods(model: lt.Model, tmp_path: Path) -> None:
    folder = mlflow.artifacts.download_artifacts("models:/stars/1", dst_path=str(tmp_path / "copy"))
    with pytest.raises(ModelError, match="no registered model"):
        setup_of(FETCHED, uri=folder).plan()
    assert not [text for text in setup_of(uri=folder).plan().documents.values() if folder in text]


@pytest.fixture
def served_store(model: lt.Model, store: str, tmp_path: Path) -> Iterator[str]:
    """The store with the packaged champion behind a tracking server that others reach; it serves `artifacts/`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        host = probe.getsockname()[0]
    with socket.socket() as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [Path(sys.executable).parent / "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1",
         "--backend-store-uri", store, "--serve-artifacts", "--artifacts-destination", str(tmp_path / "artifacts"),
         "--default-artifact-root", "mlflow-artifacts:/", "--allowed-hosts", "*"],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://{host}:{port}/health", timeout=PATIENCE_SECONDS):
                    break
            except OSError:
                assert time.monotonic() < deadline and server.poll() is None
                # Polled, because a server has no other way to say that it listens.
                time.sleep(0.2)
        mlflow.set_tracking_uri(f"http://{host}:{port}")
        yield f"http://{host}:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(PATIENCE_SECONDS)


@pytest.mark.slow
def test_pods_fetch_the_version_from_a_store_whose_files_they_reach(served_store: str, tmp_path: Path) -> None:
    setup = setup_of({**FETCHED, "namespace": "production"})
    with pytest.raises(ModelError, match=r"on one machine's disk.*--serve-artifacts"):
        setup.plan()
    # As if it had been logged through the server.
    shutil.copytree(located("models:/stars/1"), tmp_path / "artifacts" / "stars")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE model_versions SET storage_location = 'mlflow-artifacts:/stars'")
    plan = setup.plan()
    refuse_invalid(plan)
    fetching = pod_of(documents_of(plan))["initContainers"][0]
    assert fetching["command"][-3:] == ["models:/stars/1", "--dst-path", "/model"]
    assert {"name": "MLFLOW_TRACKING_URI", "value": served_store} in fetching["env"]
    rules = json.dumps(documents_of(plan)["NetworkPolicy"]["spec"]["egress"])
    assert served_store.removeprefix("http://").partition(":")[0] in rules

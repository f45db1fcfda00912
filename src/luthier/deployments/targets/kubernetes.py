"""The Kubernetes target: manifests for an image, applied with the user's kubectl."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from luthier.deployments.plan import DeploymentPlan, DeploymentRequest
from luthier.deployments.shipped_model import ShippedModel, is_loopback, share_of, ship
from luthier.deployments.targets.container import PORT, check_settings, grace_seconds, serve_arguments
from luthier.deployments.targets.templates import filled
from luthier.errors import MissingPart, ModelError, UserError
from luthier.outputs import check_folder, write_folder
from luthier.tracking.store_file import REGISTERED, store_uri

logger = logging.getLogger(__name__)

__all__ = ["IN_FLIGHT_METRIC", "KubernetesTarget", "label_value"]

SETTINGS = (
    *("image", "namespace", "replicas", "most_replicas", "cpu", "memory", "limits_share", "pull_secret"),
    "fetch_image",
)

IN_FLIGHT_METRIC = "luthier_in_flight_requests"
"""What the autoscaler looks at; `serving.metrics` exposes it."""

CPU_BOUND_IN_FLIGHT = 4
"""Requests in flight at which a pod whose model asks no endpoint gets help: more would only wait for the processor."""

BUSY = 0.75
"""Part of the calls that a pod may have in flight at which it gets help."""

DRAIN_SECONDS = 5
"""From a pod's last entry in its Service until its proxies have noticed."""

MANIFESTS = "kubernetes.yaml"
"""The file that `--to` makes."""

LONGEST_LABEL = 63
KUBECTL_SECONDS = 120.0

REACHABLE = ("s3", "gs", "abfss", "wasbs", "dbfs", "hdfs", "mlflow-artifacts", "http", "https")
"""Schemes of stores that are not on one machine's disk."""

METADATA_SERVICE = "169.254.0.0/16"
"""Where clouds hand out credentials of the machine to every process on it."""


class KubernetesTarget:
    """Writes the manifests of a deployment, or applies them to the cluster that kubectl is set up for."""

    name = "kubernetes"

    def plan(self, request: DeploymentRequest) -> DeploymentPlan:
        """What would be applied.

        Raises:
            UserError: a setting is missing, unknown or wrong.
            ModelError: there is no such model, or pods cannot fetch it from where it is.
            EndpointError: who the model asks is not reached from a cluster.
        """
        check_settings(request, self.name, SETTINGS)
        if request.to is not None:
            check_folder(request.to)
        values = _settings(request)
        model = ship(request, host_is_near=False)
        if values["fetch_image"]:
            values["tracking_uri"] = _store_for_pods(request, model)
        documents = _documents(request, model, values)
        kinds = [yaml.safe_load(text)["kind"] for text in documents.values()]
        where = f"namespace {values['namespace']}" if values["namespace"] else "kubectl's namespace"
        if values["fetch_image"]:
            origin = f"is fetched by each pod from {values['tracking_uri']}"
        else:
            origin = (
                f"is in the image {values['image']}, made by: luthier deploy {request.model_uri} --target container"
            )
        steps = [
            f"{model.title} {model.version} ({model.uri}) {origin}.",
            f"{values['replicas']} to {values['most_replicas']} pods, each with {_share_text(request, values)} of the "
            "limits of the account and of the day's budget.",
        ]
        steps += [f"Secret {name} is used, and has to be there." for name in _secrets(request.name, model)]
        if request.to is not None:
            steps.append(f"The manifests are written into {request.to}; nothing is applied.")
        else:
            steps.append(f"kubectl applies {', '.join(kinds)} in {where}.")
        return DeploymentPlan(
            request=replace(request, model_uri=model.fixed_uri),
            target=self.name,
            steps=tuple(steps),
            documents=documents,
        )

    def apply(self, plan: DeploymentPlan) -> str:
        """Applies the manifests, or writes them where `--to` says.

        Raises:
            MissingPart: there is no kubectl.
            UserError: a Secret is missing, or the cluster refuses.
        """
        request = plan.request
        if request.to is not None:

            def fill(folder: Path) -> None:
                # One file: of a folder kubectl would also read the list of what was written.
                (folder / MANIFESTS).write_text(_stream(plan.documents), encoding="utf-8")

            file = write_folder(request.to, fill) / MANIFESTS
            return f"{file} is ready; to apply it: kubectl apply --server-side -f {file}"
        scope = _scope(request)
        model = ship(request, host_is_near=False)
        _check_secrets(scope, _secrets(request.name, model), model)
        _kubectl([*scope, "apply", "--server-side", "--field-manager", "luthier", "-f", "-"], _stream(plan.documents))
        there = " ".join(["kubectl", *scope])
        return (
            f"{request.name} is applied.\n"
            f"to wait until its pods answer: {there} rollout status deployment/{request.name}\n"
            f"to reach it from here: {there} port-forward service/{request.name} 8080:{request.settings.port or PORT}\n"
            f"to go back: {there} rollout undo deployment/{request.name}"
        )


def label_value(text: str) -> str:
    """A text as the value of a label: what is not allowed is replaced, and a long one is cut; two texts stay two.

    Examples:
        >>> label_value("3")
        '3'
        >>> len(label_value("a very long name " * 9))
        63
    """
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    rough = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[: LONGEST_LABEL - 9].strip("-._")
    return f"{rough}-{digest}" if rough else digest


def _share_text(request: DeploymentRequest, values: dict[str, Any]) -> str:
    """The part that each pod gets, as a fraction."""
    return f"{values['share']:g}" if "limits_share" in request.config else f"1/{values['most_replicas']}"


def _settings(request: DeploymentRequest) -> dict[str, Any]:
    config = request.config
    image, fetch_image = config.get("image", ""), config.get("fetch_image", "")
    if not image:
        raise UserError(
            "which image runs? Make one with --target container, push it to a registry that the cluster pulls from, "
            "and add --config image=NAME:TAG."
        )
    for key in ("image", "fetch_image"):
        given = config.get(key, "")
        if given and not re.fullmatch(
            r"[^\s:@]+(:\d+/[^\s:@]+)?(:[\w][\w.-]*|@sha256:[0-9a-f]{64}|:[\w.-]+@sha256:[0-9a-f]{64})", given
        ):
            raise UserError(f"--config {key}={given}: an image with a tag or a digest is wanted, as in stars:3.")
    for key in ("namespace", "pull_secret"):
        if key in config and not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", config[key]):
            raise UserError(f"--config {key}={config[key]}: small letters, digits and - are allowed, as in production.")
    replicas = _whole(config.get("replicas", "2"), "replicas")
    most = _whole(config.get("most_replicas", str(max(replicas, 10))), "most_replicas")
    if most < replicas:
        raise UserError(f"--config most_replicas={most} is fewer than replicas={replicas}; give at least {replicas}.")
    for key, pattern, example in (("cpu", r"\d+m|\d+(\.\d+)?", "500m"), ("memory", r"\d+(Mi|Gi|M|G)", "1Gi")):
        if key in config and not re.fullmatch(pattern, config[key]):
            raise UserError(f"--config {key}={config[key]} is no quantity of Kubernetes; give one as in {example}.")
    return {
        "image": image,
        "fetch_image": fetch_image,
        "namespace": config.get("namespace", ""),
        "pull_secret": config.get("pull_secret", ""),
        "replicas": replicas,
        "most_replicas": most,
        "cpu": config.get("cpu", "500m"),
        "memory": config.get("memory", "1Gi"),
        "share": share_of(config, 1 / most),
    }


def _documents(request: DeploymentRequest, model: ShippedModel, values: dict[str, Any]) -> dict[str, str]:
    endpoint_file = model.endpoint_file(values["share"]) or ""
    text = filled(
        "kubernetes.yaml",
        **{"tracking_uri": "", **values},
        name=request.name,
        labels={
            "app.kubernetes.io/name": "luthier",
            "app.kubernetes.io/instance": request.name,
            "app.kubernetes.io/component": "server",
            "app.kubernetes.io/version": label_value(model.version),
            "app.kubernetes.io/managed-by": "luthier",
        },
        uri=model.uri,
        endpoint_file=endpoint_file,
        endpoint_digest=hashlib.sha256(endpoint_file.encode()).hexdigest(),
        arguments=serve_arguments(request.settings, model, values["share"]),
        key_variables=model.key_variables,
        signs_in=model.signs_in,
        timeout_seconds=f"{request.settings.timeout_seconds:g}",
        grace_seconds=grace_seconds(request.settings),
        drain_seconds=DRAIN_SECONDS,
        port=request.settings.port or PORT,
        metric=IN_FLIGHT_METRIC,
        in_flight=_in_flight(model, values["share"]),
        egress=_egress(model, values.get("tracking_uri", "")),
    )
    documents = [one.strip("\n") + "\n" for one in text.split("\n---\n")]
    # In this order, so that what a pod needs is there before it.
    return {f"{place}-{yaml.safe_load(one)['kind'].lower()}.yaml": one for place, one in enumerate(documents, 1)}


def _in_flight(model: ShippedModel, share: float) -> int:
    concurrency = model.concurrency(share)
    return CPU_BOUND_IN_FLIGHT if concurrency is None else max(1, int(concurrency * BUSY))


def _egress(model: ShippedModel, tracking_uri: str) -> list[dict[str, Any]]:
    """Rules for the addresses that a pod has to reach, beside names."""
    addresses = {endpoint.address for endpoint in model.endpoints}
    if model.signs_in:
        addresses.add("https://login.microsoftonline.com")
    if tracking_uri:
        # The files themselves come from the store or from a bucket, over TLS.
        addresses |= {tracking_uri if "://" in tracking_uri else "https://", "https://"}
    rules = [_rule(address, may_sign_in=model.signs_in) for address in sorted(addresses)]
    return [rule for place, rule in enumerate(rules) if rule not in rules[:place]]


def _rule(address: str, *, may_sign_in: bool) -> dict[str, Any]:
    parts = urlsplit(address)
    host = parts.hostname or ""
    ports = [{"port": parts.port or (80 if parts.scheme == "http" else 443), "protocol": "TCP"}]
    try:
        network = ipaddress.ip_network(host)
    except ValueError:
        pass
    else:
        return {"to": [{"ipBlock": {"cidr": str(network)}}], "ports": ports}
    labels = host.split(".")
    # A policy sees the port of the pod behind a Service, which is not known here.
    if host and len(labels) == 1:
        return {"to": [{"podSelector": {}}]}
    if len(labels) > 2 and labels[2] == "svc":
        return {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": labels[1]}}}]}
    anywhere: dict[str, Any] = {"cidr": "0.0.0.0/0"}
    if not may_sign_in:
        anywhere["except"] = [METADATA_SERVICE]
    return {"to": [{"ipBlock": anywhere}, {"ipBlock": {"cidr": "::/0"}}], "ports": ports}


def _store_for_pods(request: DeploymentRequest, model: ShippedModel) -> str:
    """The tracking store, where pods can fetch the model from it.

    Raises:
        ModelError: it is not a registered model, or the store or its artifacts are on this machine.
    """
    instead = "Build the model into the image: --target container, and leave --config fetch_image out."
    if not model.is_registered:
        raise ModelError(f"{request.model_uri} is no registered model, so pods cannot fetch it. {instead}")
    tracking_uri = store_uri()
    parts = urlsplit(tracking_uri)
    is_served = parts.scheme in ("http", "https") and not is_loopback(parts.hostname or "")
    if not (is_served or parts.scheme.startswith("databricks") or tracking_uri.startswith("databricks")):
        shown = tracking_uri if "@" not in tracking_uri else f"{parts.scheme}://..."
        raise ModelError(
            f"the tracking store is {shown}, which pods cannot reach. Run a tracking server that they reach (mlflow "
            f"server) and set MLFLOW_TRACKING_URI to its address; or: {instead}"
        )
    if parts.username or parts.password:
        raise ModelError(
            "MLFLOW_TRACKING_URI holds credentials, which would be written into a manifest. Give the address alone, "
            f"and put MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD into Secret {request.name}-store."
        )
    import mlflow

    named = REGISTERED.fullmatch(model.uri)
    assert named is not None
    artifacts = str(mlflow.MlflowClient().get_model_version_download_uri(named[1], named[3]))
    if urlsplit(artifacts).scheme not in REACHABLE:
        raise ModelError(
            f"the files of {model.uri} are at {artifacts}, on one machine's disk, which pods cannot reach. Start the "
            "tracking server with --serve-artifacts or with a bucket (--default-artifact-root), and log the model "
            f"again; or: {instead}"
        )
    return tracking_uri


def _secrets(name: str, model: ShippedModel) -> list[str]:
    return [f"{name}-keys", *([f"{name}-upstream"] if model.key_variables and not model.signs_in else [])]


def _check_secrets(scope: Sequence[str], names: Sequence[str], model: ShippedModel) -> None:
    """Refuses before anything is applied: a pod without its Secret waits for ever."""
    asked = _run_kubectl([*scope, "get", "secret", *names, "--ignore-not-found", "-o", "name"], "")
    if asked.returncode != 0:
        logger.warning("kubectl cannot say whether the Secrets are there: %s", asked.stderr.strip()[:300])
        return
    there = {line.rpartition("/")[2] for line in asked.stdout.split()}
    if missing := [name for name in names if name not in there]:
        there_is = " ".join(["kubectl", *scope, "create", "secret", "generic"])
        how = {
            name: f"{there_is} {name} --from-file=keys=FILE (FILE from: luthier keys add FILE LABEL)"
            if name.endswith("-keys")
            else f"{there_is} {name} --from-env-file=FILE (FILE has a line {model.key_variables[0]}=...)"
            for name in missing
        }
        raise UserError(
            f"the cluster has no Secret {', '.join(missing)}; nothing was applied. Type:\n" + "\n".join(how.values())
        )


def _scope(request: DeploymentRequest) -> list[str]:
    namespace = request.config.get("namespace")
    return [] if namespace is None else ["--namespace", namespace]


def _stream(documents: Mapping[str, str]) -> str:
    return "---\n".join(documents.values())


def _kubectl(arguments: Sequence[str], given: str) -> str:
    done = _run_kubectl(arguments, given)
    if done.returncode != 0:
        raise UserError(f"kubectl {' '.join(arguments)} ended with exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _run_kubectl(arguments: Sequence[str], given: str) -> subprocess.CompletedProcess[str]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise MissingPart("there is no kubectl on PATH. Install it, or add --to FOLDER to write the manifests only.")
    try:
        return subprocess.run(
            [kubectl, *arguments], input=given, capture_output=True, text=True, check=False, timeout=KUBECTL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"kubectl had no answer from the cluster within {KUBECTL_SECONDS:.0f} s. Try: kubectl cluster-info"
        ) from None


def _whole(given: str, key: str) -> int:
    if not given.isdecimal() or not 1 <= int(given) <= 1000:
        raise UserError(f"--config {key}={given}: give a whole number from 1 to 1000.")
    return int(given)

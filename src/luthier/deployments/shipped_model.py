"""A packaged model on its way to other machines: what travels, and whether it can answer there."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from luthier.deployments.fetching import resolved_model
from luthier.deployments.plan import DeploymentRequest
from luthier.errors import EndpointError, ModelError, UserError
from luthier.packaging.flavor import requirements
from luthier.packaging.folder import ModelFolder, read_model_folder
from luthier.packaging.loading import find_model, located
from luthier.packaging.model import LIMIT_KEYS, endpoint_settings
from luthier.providers.endpoint import EMBEDDED_CONCURRENCY, Endpoint, Limits
from luthier.spec import Fitted
from luthier.tracking.store_file import REGISTERED

__all__ = ["ShippedModel", "is_loopback", "share_of", "ship"]

ENDPOINT_NOTE = "# Who the model asks, as luthier serve --endpoint reads it. A key is named here, never written.\n"
"""First line of an endpoint file."""

SERVER = ("filelock", "httptools", "prometheus-client", "pyarrow", "starlette", "typer", "uvicorn")
"""Packages that `luthier serve` needs beside those of the model."""

UNUSED = ("mlflow", "pandas")
"""Packages that every packaged model names and a server of Luthier's models never imports: most of the size."""

READ = ("data", "input_example.json")
"""What a server reads of a model's files, beside MLmodel; the example is shown on its page."""

ENTRA_VARIABLES = ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID")
"""Variables that azure-identity reads where no one is signed in."""

ON_THE_HOST = "host.docker.internal"
"""The machine that runs a container, by the name it has inside."""


@dataclass(frozen=True)
class ShippedModel:
    """A model with what a server of it needs on another machine.

    Attributes:
        folder: its files, as they lie here.
        fitted: what was fitted, its endpoint moved as asked; `None` of a model that Luthier did not log.
        fixed_uri: an address that always means this model, such as `models:/stars/3`.
        title: the registered name, or that of the spec or of the folder.
        version: the registered version, or the first characters of a digest.
        runs_own_code: whether MLflow loads it, with code that came along.
    """

    folder: ModelFolder
    fitted: Fitted | None
    fixed_uri: str
    title: str
    version: str
    runs_own_code: bool = False

    @property
    def uri(self) -> str:
        """The address as others may see it: of a folder only its last name."""
        is_here = self.fixed_uri.startswith("file:") or not re.match(r"[a-z0-9-]+:/", self.fixed_uri)
        return Path(self.fixed_uri).name if is_here else self.fixed_uri

    @property
    def is_registered(self) -> bool:
        """Whether it is a version of a registered model."""
        return REGISTERED.fullmatch(self.fixed_uri) is not None

    @property
    def endpoint(self) -> Endpoint | None:
        """Who the model asks; `None` where it asks no endpoint."""
        return None if self.fitted is None else self.fitted.spec.endpoint

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint that the model asks, as far as is known: those in a model's own code are not."""
        return () if self.fitted is None else self.fitted.spec.all_endpoints

    @property
    def key_variables(self) -> tuple[str, ...]:
        """Names of the environment variables that a server of the model reads keys from."""
        names: set[str] = set()
        for endpoint in self.endpoints:
            if endpoint.auth == "entra":
                names |= set(ENTRA_VARIABLES)
            elif endpoint.key_variable is not None:
                names.add(endpoint.key_variable)
        return tuple(sorted(names))

    @property
    def signs_in(self) -> bool:
        """Whether it signs in to Entra rather than sending a key."""
        return any(endpoint.auth == "entra" for endpoint in self.endpoints)

    def concurrency(self, share: float = 1.0) -> int | None:
        """Calls that one server may have in flight; `None` where the model asks no endpoint."""
        if self.endpoint is None:
            return None
        calls: int = _shared(self.endpoint.limits, share)["concurrency"]
        return calls

    def requirements(self) -> list[str]:
        """Packages, with versions, of a server of the model."""
        pinned = _listed(self.folder) if self.fitted is None else requirements(self.fitted)
        if not self.runs_own_code:
            pinned = [line for line in pinned if line.partition("==")[0] not in UNUSED]
        return [*pinned, *(f"{name}=={metadata.version(name)}" for name in SERVER)]

    def endpoint_file(self, share: float = 1.0) -> str | None:
        """The endpoint as a file for `--endpoint`; `None` where the model asks no endpoint.

        Args:
            share: the part of the account's limits that one server may use.
        """
        endpoint = self.endpoint
        if endpoint is None or self.fitted is None:
            return None
        packaged = self.folder.config
        # Nothing that the model was packaged with comes back where the file leaves a setting out.
        block = {
            key: value
            for key, value in endpoint_settings(endpoint).items()
            if key not in LIMIT_KEYS and (value not in (None, {}) or packaged.get(key) not in (None, {}))
        }
        block["limits"] = _shared(endpoint.limits, share)
        blocks = {"endpoint": block}
        blocks[self.fitted.spec.endpoint_block] = block
        return ENDPOINT_NOTE + _dumped(blocks)

    def copy_to(self, folder: Path) -> None:
        """Copies what a server reads into a folder, without paths of this machine.

        Raises:
            ModelError: a symbolic link is among the files.
        """
        source = self.folder.path
        folder.mkdir()
        for entry in source.iterdir():
            if entry.name != "MLmodel" and (self.runs_own_code or entry.name in READ):
                _copy(entry, folder / entry.name)
        mlmodel = yaml.safe_load((source / "MLmodel").read_text(encoding="utf-8"))
        # Where it lies here, which says nothing there.
        mlmodel.pop("artifact_path", None)
        (folder / "MLmodel").write_text(_dumped(mlmodel), encoding="utf-8")


def ship(request: DeploymentRequest, *, host_is_near: bool) -> ShippedModel:
    """Finds a model, and refuses one that could not answer on another machine.

    Args:
        request: what was asked for.
        host_is_near: whether the machine that runs a container is reached as `host.docker.internal`.

    Raises:
        ModelError: there is no such model, or it runs code and is not trusted.
        EndpointError: who it asks is on this machine alone.
    """
    # An alias may mean another version when the plan is carried out.
    model = resolved_model(request.model_uri)
    named = REGISTERED.fullmatch(model.uri)
    folder = read_model_folder(located(model.uri), model.uri)
    if not folder.is_ours and request.trust:
        if request.endpoint:
            raise ModelError(f"{model.uri} is not a model that luthier logged, so --endpoint cannot move it.")
        digest = hashlib.sha256((folder.path / "MLmodel").read_bytes()).hexdigest()
        name = folder.path.name if named is None else named[1]
        return ShippedModel(folder, None, model.uri, name, model.version or digest[:12], runs_own_code=True)
    fitted = find_model(model.uri, request.endpoint, trust=request.trust, folder=folder).fitted
    for place, endpoint in enumerate(fitted.spec.endpoints):
        for one in endpoint.pool:
            _refuse_unreachable(one, can_be_moved=place == 0, host_is_near=host_is_near)
    return ShippedModel(
        folder,
        fitted,
        model.uri,
        fitted.spec.name if named is None else named[1],
        model.version or fitted.digest[:12],
        runs_own_code=request.trust and bool(folder.would_run),
    )


def share_of(config: Mapping[str, str], default: float) -> float:
    """The setting `limits_share`: which part of the account's limits one server may use.

    Raises:
        UserError: it is no number above 0 and up to 1.
    """
    given = config.get("limits_share")
    try:
        share = default if given is None else float(given)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UserError(f"limits_share is {given!r}; give the part of the account's limits for one server, as in 0.5.")
    return share


def _listed(folder: ModelFolder) -> list[str]:
    """Packages that a model was logged with, and those that serving any model of MLflow's needs."""
    try:
        lines = (folder.path / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ModelError(f"{folder.path} has no readable requirements.txt, so what it needs is not known.") from error
    asked = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    # Luthier itself comes as a wheel.
    return [*(line for line in asked if not re.match(r"luthier\b", line)), *UNUSED]


def _refuse_unreachable(endpoint: Endpoint, *, can_be_moved: bool, host_is_near: bool) -> None:
    host = (urlsplit(endpoint.address).hostname or "") if endpoint.provider != "local" else ""
    if endpoint.provider == "local":
        what = f"the model asks {endpoint.model} on the embedded server, which answers on this machine only"
    elif is_loopback(host):
        what = f"the model asks {endpoint.address}, and inside a container {host} is the container itself"
    elif host == ON_THE_HOST and not host_is_near:
        what = f"the model asks {endpoint.address}, and a cluster has no {ON_THE_HOST}"
    else:
        return
    if not can_be_moved:
        raise EndpointError(
            f"{what}. It embeds the texts that examples are chosen by, and is fixed when a model is packaged: package "
            "the model again with an embedding service that the container reaches."
        )
    near = (
        f"http://{ON_THE_HOST}:PORT/v1 for a server on the machine that runs the container, or " if host_is_near else ""
    )
    raise EndpointError(
        f"{what}. Name a service that it reaches with --endpoint FILE: base_url {near}"
        "the address of the service in your network."
    )


def is_loopback(host: str) -> bool:
    """Whether a name or an address means the machine itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _shared(limits: Limits, share: float) -> dict[str, Any]:
    """The limits of one server of several that use the same account."""
    given: dict[str, Any] = limits.model_dump(exclude_none=True)
    for name in ("requests_per_minute", "tokens_per_minute"):
        if name in given:
            given[name] = given[name] * share
    # The default is no limit of the account's: it bounds what one process has in flight.
    if limits.concurrency not in (Limits().concurrency, EMBEDDED_CONCURRENCY):
        given["concurrency"] = max(1, int(limits.concurrency * share))
    return given


def _copy(source: Path, target: Path) -> None:
    for entry in [source, *source.rglob("*")] if source.is_dir() else [source]:
        if entry.is_symlink():
            raise ModelError(f"{entry} is a symbolic link; package the model again, so that it holds the file itself.")
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "luthier_copy"))
    else:
        shutil.copyfile(source, target)


def _dumped(document: Any) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    return text

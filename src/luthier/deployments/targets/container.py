"""The container target: a folder that docker or podman builds an image from, and a compose file that runs it."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from luthier.deployments.luthier_wheel import wheel_name, write_wheel
from luthier.deployments.plan import DeploymentPlan, DeploymentRequest
from luthier.deployments.requirements_lock import RequirementsLock, locked
from luthier.deployments.shipped_model import ON_THE_HOST, ShippedModel, share_of, ship
from luthier.deployments.targets.templates import filled
from luthier.errors import MissingPart, UserError
from luthier.outputs import check_folder, write_folder
from luthier.serving.settings import ServerSettings

__all__ = ["ENTRYPOINT", "KEYS_FILE", "ContainerTarget", "check_settings", "grace_seconds", "serve_arguments"]

PORT = 8080
"""Port of the server inside its container."""

KEYS_FILE = "/run/luthier/keys"
"""The server's file of keys inside its container; its folder is mounted."""

ENDPOINT_FILE = "/etc/luthier/endpoint.yaml"
ENTRYPOINT = ("luthier", "serve", "/model")

HEALTHCHECK = (
    *("python", "-I", "-c"),
    # By http.client, because urllib would ask a proxy that the environment names.
    "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 8080, timeout=2); c.request('GET', '/ping'); "
    "sys.exit(c.getresponse().status != 200)",
)

SPARE_SECONDS = 15
"""Beyond the longest request: what ending takes."""

SETTINGS = ("build", "limits_share")
ENGINES = ("docker", "podman")
BUILD_SECONDS = 1800.0


class ContainerTarget:
    """Writes a folder with everything an image needs but its base image and the packages of its lock."""

    name = "container"

    def plan(self, request: DeploymentRequest) -> DeploymentPlan:
        """What would be written.

        Raises:
            UserError: a setting is not for containers, or the folder holds something else.
            ModelError: there is no such model.
            EndpointError: who the model asks is not reached from a container.
            MissingPart: an image is to be built, and there is neither docker nor podman.
        """
        check_settings(request, self.name, SETTINGS)
        if request.to is None:
            raise UserError("where do the files go? Add --to FOLDER, as in --to build/.")
        folder = check_folder(request.to)
        builds = _builds(request)
        model = ship(request, host_is_near=True)
        lock = locked(model.requirements())
        steps = [
            f"{model.title} {model.version} ({model.uri}) and this Luthier are copied into {request.to}.",
            _said_of(lock),
            *(
                ()
                if model.endpoint is None
                else (f"The server asks {model.endpoint.model} at {model.endpoint.address}.",)
            ),
            *(
                ("Its own code is run there. Variables that it reads are not known; pass them on to the container.",)
                if model.runs_own_code
                else ()
            ),
            *(f"It reads the key from {variable}, which compose.yaml passes on." for variable in model.key_variables),
        ]
        if builds:
            steps.append(f"{_engine()} builds the image {_image(request, model)}; nothing is started.")
        return DeploymentPlan(
            # The address is fixed: an alias may mean another version when the plan is carried out.
            request=replace(request, model_uri=model.fixed_uri, to=folder),
            target=self.name,
            steps=tuple(steps),
            documents=_documents(request, model, lock),
        )

    def apply(self, plan: DeploymentPlan) -> str:
        """Writes the folder, and builds the image where `build=true` is set.

        Raises:
            DataError: the folder holds something else, or the disk refuses.
            UserError: the image cannot be built.
        """
        request = plan.request
        assert request.to is not None
        model = ship(request, host_is_near=True)

        def fill(folder: Path) -> None:
            for name, text in plan.documents.items():
                (folder / name).write_text(text, encoding="utf-8")
            write_wheel(folder)
            model.copy_to(folder / "model")

        folder = write_folder(request.to, fill)
        if _builds(request):
            _build(folder, _image(request, model))
        return f"{folder} is ready. What to type is in {folder / 'README.md'}; it begins with: cd {folder}"


def check_settings(request: DeploymentRequest, target: str, allowed: tuple[str, ...]) -> None:
    """Refuses what a target does not know, and a server without keys that others reach.

    Raises:
        UserError: a setting is unknown, or keys are to be left out or copied.
    """
    if unknown := sorted(set(request.config) - set(allowed)):
        raise UserError(f"--config {', '.join(unknown)}: {target} has {', '.join(allowed)}.")
    if request.settings.without_key:
        raise UserError(f"a server in a {target} is reached by others, so it needs keys; leave --no-key out.")
    if request.settings.keys_file is not None:
        raise UserError(
            f"keys are mounted where the server runs and never copied; leave --keys out, and put the file where the "
            f"README of the {target} says."
        )


def serve_arguments(settings: ServerSettings, model: ShippedModel, share: float = 1.0) -> list[str]:
    """Arguments of `luthier serve` inside a container.

    Args:
        settings: what is refused, and what may be spent.
        model: what answers.
        share: the part of the day's budget that one server may spend.
    """
    arguments = ["--host", "0.0.0.0", "--port", str(PORT), "--keys", KEYS_FILE]
    arguments += ["--timeout", f"{settings.timeout_seconds:g}", "--most-rows", str(settings.most_rows)]
    if settings.budget_usd_per_day is not None:
        arguments += ["--budget-per-day", f"{settings.budget_usd_per_day * share:g}"]
    if model.endpoint is not None:
        arguments += ["--endpoint", ENDPOINT_FILE]
    if model.is_registered:
        # For the header and the metrics that name the version: the folder does not say it.
        arguments += ["--known-as", model.uri]
    return [*arguments, *(["--trust"] if model.runs_own_code else [])]


def grace_seconds(settings: ServerSettings) -> int:
    """Seconds from SIGTERM to SIGKILL: enough for the longest request to be answered."""
    return math.ceil(settings.timeout_seconds) + SPARE_SECONDS


def _documents(request: DeploymentRequest, model: ShippedModel, lock: RequirementsLock) -> dict[str, str]:
    share = share_of(request.config, 1.0)
    endpoint_file = model.endpoint_file(share)
    address = "" if model.endpoint is None else model.endpoint.address
    values: dict[str, Any] = {
        "name": request.name,
        "image": _image(request, model),
        "title": model.title,
        "version": model.version,
        "uri": model.uri,
        "luthier_version": metadata.version("luthier"),
        "python": ".".join(map(str, sys.version_info[:2])),
        "wheel": wheel_name(),
        "packages": sum("==" in line for line in lock.text.splitlines()),
        "has_hashes": lock.has_hashes,
        "hashes": "with the hashes of their files" if lock.has_hashes else "without hashes",
        "has_endpoint": endpoint_file is not None,
        "has_budget": request.settings.budget_usd_per_day is not None,
        "host_is_asked": ON_THE_HOST in address,
        "key_variables": model.key_variables,
        "entrypoint": list(ENTRYPOINT),
        "arguments": serve_arguments(request.settings, model, share),
        "healthcheck": list(HEALTHCHECK),
        "timeout_seconds": f"{request.settings.timeout_seconds:g}",
        "grace_seconds": grace_seconds(request.settings),
        "port": request.settings.port or PORT,
        "keys_folder": f"../{request.name}-keys",
        "example": shlex.quote(json.dumps({"dataframe_records": [_example(model)]})),
    }
    files = {"Dockerfile": "Dockerfile", ".dockerignore": "dockerignore"}
    files |= {name: name for name in ("compose.yaml", "prometheus.yml", "README.md")}
    documents = {name: filled(template, **values) for name, template in files.items()}
    if endpoint_file is not None:
        documents["endpoint.yaml"] = endpoint_file
    return {**documents, "requirements.lock": lock.text}


def _example(model: ShippedModel) -> dict[str, Any]:
    if model.fitted is not None:
        return dict.fromkeys(model.fitted.spec.columns, "An example text.")
    try:
        example = json.loads((model.folder.path / "input_example.json").read_text(encoding="utf-8"))
        return dict(zip(example["columns"], example["data"][0], strict=True))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {"COLUMN": "VALUE"}


def _image(request: DeploymentRequest, model: ShippedModel) -> str:
    return f"luthier-{request.name}:{model.version}"


def _said_of(lock: RequirementsLock) -> str:
    count = sum("==" in line for line in lock.text.splitlines())
    if lock.has_hashes:
        return f"{count} packages are pinned as they are installed here, with hashes; the base image by its tag."
    return f"{count} packages are pinned as they are installed here, without hashes ({lock.why_no_hashes})."


def _builds(request: DeploymentRequest) -> bool:
    given = request.config.get("build", "false")
    if given not in ("true", "false"):
        raise UserError(f"--config build={given}: give true or false.")
    if given == "true" and _engine() is None:
        raise MissingPart(
            "there is neither docker nor podman on PATH to build an image with. Install one of them, or leave "
            "--config build=true out and build the folder where one is."
        )
    return given == "true"


def _engine() -> str | None:
    return next((engine for engine in ENGINES if shutil.which(engine)), None)


def _build(folder: Path, image: str) -> None:
    engine = _engine()
    assert engine is not None
    try:
        # What it says goes to the user as it comes: a build takes minutes.
        done = subprocess.run(
            [engine, "build", "--tag", image, "."], cwd=folder, stdout=sys.stderr, check=False, timeout=BUILD_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{engine} build took longer than {BUILD_SECONDS:.0f} s and was ended.") from None
    if done.returncode != 0:
        raise UserError(
            f"{engine} build ended with exit code {done.returncode}; what it said is above. The files are in {folder}; "
            f"to try again: cd {folder} && {engine} build --tag {image} ."
        )

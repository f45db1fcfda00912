"""What deploying would do, before anything is done; every target plans and applies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from luthier.errors import UserError
from luthier.serving.settings import ServerSettings

__all__ = ["LONGEST_NAME", "DeploymentPlan", "DeploymentRequest", "Target", "checked_name"]

LONGEST_NAME = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRequest:
    """What is to answer HTTP, where, and under which name.

    Attributes:
        name: of the deployment: letters, digits and `-`, at most 32.
        model_uri: what the user gave; an alias is followed where the target can.
        settings: of each server.
        endpoint: settings that point the model elsewhere, as `luthier.load` takes them.
        trust: let a model that Luthier did not log run the code it brings along.
        to: folder for files, where the target writes some.
        config: what only one target knows, such as `instance_type`.
    """

    name: str
    model_uri: str
    settings: ServerSettings = field(default_factory=ServerSettings)
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    trust: bool = False
    to: Path | None = None
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """What a target would do; shows itself as `--dry-run` prints it.

    Attributes:
        request: what was asked for.
        target: where it would run.
        steps: what would happen, a sentence each, in order.
        documents: what would be written or sent, by the name of the file or of the request.
        usd_per_hour: what it costs while it runs, asked or not; `None` where that is not known, 0 on one's own machine.
    """

    request: DeploymentRequest
    target: str
    steps: tuple[str, ...]
    documents: Mapping[str, str] = field(default_factory=dict)
    usd_per_hour: float | None = 0.0

    def to_document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.request.name,
            "target": self.target,
            "model_uri": self.request.model_uri,
            "steps": list(self.steps),
            "documents": dict(self.documents),
            "usd_per_hour": self.usd_per_hour,
        }

    def __str__(self) -> str:
        parts = [f"{place}. {step}" for place, step in enumerate(self.steps, 1)]
        parts += [f"\n--- {name}\n{text.rstrip()}" for name, text in self.documents.items()]
        return "\n".join(parts)


class Target(Protocol):
    """A place where deployments run. One class per file in `targets/`, without state of its own."""

    name: str

    def plan(self, request: DeploymentRequest) -> DeploymentPlan:
        """What `apply` would do; changes and sends nothing that costs or is kept.

        Raises:
            UserError: it could not work: a setting, a missing program or extra, a model the target cannot reach.
        """
        ...

    def apply(self, plan: DeploymentPlan) -> str:
        """Does it, and returns what to tell the user: where it answers, or what to type next."""
        ...


def checked_name(name: str) -> str:
    """The name of a deployment, as every target takes it.

    Raises:
        UserError: it is too long, or has other characters.
    """
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name) or len(name) > LONGEST_NAME:
        raise UserError(
            f"{name!r} is no name for a deployment; give at most {LONGEST_NAME} small letters, digits and -, beginning "
            "with a letter, as in --name stars."
        )
    return name

"""The canonical name of a model, which the names that services give it are parsed into."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["ModelName", "parse_model_name"]


@dataclass(frozen=True)
class ModelName:
    """What a model is, at whatever host. Host, deployment and precision are no part of it.

    Attributes:
        vendor: who made the base model, such as `openai`, `meta`, `mistral`; `None` where the name does not tell.
        family: name of the base model without its snapshot, lower case, such as `gpt-4.1-mini`.
        snapshot: which version of the family, such as `2025-04-14`; `None` where the name does not tell.
        job: what tells a fine-tune from others of the same base: the service's id of it; `None` for a base model.
        checkpoint: training step of a checkpoint; `None` for a base model and the result of a job.

    Examples:
        >>> parse_model_name("ft:gpt-4o-mini-2024-07-18:org:stars:abc:ckpt-step-9").key
        'openai/gpt-4o-mini@2024-07-18#abc:9'
        >>> parse_model_name("gpt-4.1-mini-2025-04-14.ft-0123abcd-stars").key
        'openai/gpt-4.1-mini@2025-04-14#0123abcd'
    """

    vendor: str | None
    family: str
    snapshot: str | None = None
    job: str | None = None
    checkpoint: int | None = None

    @property
    def key(self) -> str:
        """The name as one text, `VENDOR/FAMILY@SNAPSHOT#JOB:STEP`; equal for two names of one model."""
        parts = [f"{self.vendor}/" if self.vendor else "", self.family]
        parts += [f"@{self.snapshot}"] if self.snapshot else []
        parts += [f"#{self.job}"] if self.job else []
        parts += [f":{self.checkpoint}"] if self.checkpoint is not None else []
        return "".join(parts)

    @property
    def base(self) -> ModelName:
        """The model that it was fine-tuned from; itself for a base model."""
        return ModelName(self.vendor, self.family, self.snapshot)

    @property
    def is_tuned(self) -> bool:
        """Whether it is the result or a checkpoint of a fine-tuning job."""
        return self.job is not None


OPENAI_TUNED = re.compile(r"ft:(?P<base>[^:]+):[^:]*:[^:]*:(?P<job>[^:]+)(?::ckpt-step-(?P<step>\d+))?")
AZURE_TUNED = re.compile(r"(?P<base>.+)\.ft-(?P<job>[0-9a-f]+)(?:-.*)?")
DATED = re.compile(r"(?P<family>.+)-(?P<snapshot>\d{4}-\d{2}-\d{2})")


def parse_model_name(name: str, *, version: str | None = None, vendor: str | None = None) -> ModelName:
    """The model that a name of a service stands for. Nothing is guessed: an unknown name is a family of its own.

    Args:
        name: as a service spells it, in whatever case; a deployment's name only where it is that of its model.
        version: what Azure calls the model's version, such as `2025-04-14`; `1` says nothing.
        vendor: who made it, where the service tells, such as Azure's model format.
    """
    tuned = OPENAI_TUNED.fullmatch(name) or AZURE_TUNED.fullmatch(name)
    base = tuned["base"] if tuned else name
    dated = DATED.fullmatch(base)
    family, snapshot = (dated["family"], dated["snapshot"]) if dated else (base, version)
    step = tuned.groupdict().get("step") if tuned else None
    return ModelName(
        vendor or ("openai" if family.startswith("gpt-") else None),
        family.lower(),
        None if snapshot == "1" else snapshot,
        tuned["job"] if tuned else None,
        int(step) if step else None,
    )

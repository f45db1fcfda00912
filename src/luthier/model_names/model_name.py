"""The canonical name of a model, and the one text that it is kept by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

__all__ = ["ModelName"]

KEY = re.compile(
    r"(?:(?P<vendor>.+)/)?(?P<family>[^/@#]+)(?:@(?P<snapshot>[^/@#]+))?(?:#(?P<job>[^:#]+)(?::(?P<step>\d+))?)?"
)

MARKS = "%@#"


@dataclass(frozen=True)
class ModelName:
    """What a model is, at whatever host. Host, deployment and precision are no part of it.

    Attributes:
        vendor: who made the base model, such as `openai`, `meta`, `mistral`; `None` where the name does not tell.
        family: name of the base model without its snapshot, lower case, such as `gpt-4.1-mini`.
        snapshot: which version of the family, such as `2025-04-14`; `None` where the name does not tell.
        job: what tells a fine-tune from others of the same base: the service's id of it; `None` for a base model.
        checkpoint: training step of a checkpoint; `None` for a base model and the result of a job.
    """

    vendor: str | None
    family: str
    snapshot: str | None = None
    job: str | None = None
    checkpoint: int | None = None

    @property
    def key(self) -> str:
        """The name as one text, `VENDOR/FAMILY@SNAPSHOT#JOB:STEP`; equal for two names of one model.

        Characters that would be read as one of these marks are written as `%XX`.

        Examples:
            >>> ModelName("openai", "gpt-4.1-mini", "2025-04-14", "abc", 9).key
            'openai/gpt-4.1-mini@2025-04-14#abc:9'
        """
        parts = [f"{_escaped(self.vendor, MARKS)}/" if self.vendor else "", _escaped(self.family, MARKS + "/")]
        parts += [f"@{_escaped(self.snapshot, MARKS + '/')}"] if self.snapshot else []
        parts += [f"#{_escaped(self.job, MARKS + '/:')}"] if self.job else []
        parts += [f":{self.checkpoint}"] if self.checkpoint is not None else []
        return "".join(parts)

    @classmethod
    def of_key(cls, key: str) -> ModelName:
        """The name that a key was made of.

        Raises:
            ValueError: it is no key.

        Examples:
            >>> ModelName.of_key("openai/gpt-4.1-mini@2025-04-14#abc:9").base.key
            'openai/gpt-4.1-mini@2025-04-14'
        """
        read = KEY.fullmatch(key)
        if read is None:
            raise ValueError(f"{key!r} is no key of a model: VENDOR/FAMILY@SNAPSHOT#JOB:STEP, all but FAMILY optional")
        vendor, family, snapshot, job = (None if part is None else unquote(part) for part in read.groups()[:4])
        return cls(vendor, family or "", snapshot, job, None if read["step"] is None else int(read["step"]))

    @property
    def spelled(self) -> str:
        """Family and snapshot of the base model in one word, as its maker writes them.

        Examples:
            >>> ModelName("openai", "gpt-4.1-mini", "2025-04-14", "abc").spelled
            'gpt-4.1-mini-2025-04-14'
        """
        return f"{self.family}-{self.snapshot}" if self.snapshot else self.family

    @property
    def base(self) -> ModelName:
        """The model that it was fine-tuned from; itself for a base model."""
        return ModelName(self.vendor, self.family, self.snapshot)

    @property
    def is_tuned(self) -> bool:
        """Whether it is the result or a checkpoint of a fine-tuning job."""
        return self.job is not None


def _escaped(text: str, marks: str) -> str:
    for mark in marks:
        if mark in text:
            text = text.replace(mark, f"%{ord(mark):02X}")
    return text

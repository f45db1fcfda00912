"""What a server of a deployment is started with: `server.json` in the folder of its revision."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from luthier.errors import UserError
from luthier.outputs import write_file
from luthier.serving.settings import ServerSettings

__all__ = ["ServerFile", "lock_file"]


def lock_file(folder: Path) -> Path:
    """Locked by the server of a revision's folder as long as it runs; holds its pid and start time."""
    return folder / "server.lock"


class ServerFile(BaseModel):
    """What a server of a deployment is started with. It holds no key, only names of variables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(1, alias="schema")
    """Of this file."""
    model: str
    """Folder of the packaged model."""
    uri: str
    """Where the model came from, as the server says of itself."""
    revision: int
    """Number within the deployment."""
    endpoint: dict[str, Any] = Field(default_factory=dict)
    """Settings that point the model elsewhere."""
    trust: bool = False
    """Whether a model that Luthier did not log may run the code it brings along."""
    settings: ServerSettings = Field(default_factory=ServerSettings)
    """Of the server."""

    @classmethod
    def read(cls, folder: Path) -> ServerFile:
        """From the folder of a revision.

        Raises:
            UserError: there is none, or it is not what `write` writes.
        """
        file = folder / "server.json"
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise UserError(
                f"{file} cannot be read: {error.strerror}; a server is started by luthier deploy."
            ) from error
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors())
            raise UserError(f"{file} is not what a server is started with: {said}") from error

    def write(self, folder: Path) -> Path:
        """Into the folder of a revision; returns the file."""
        file = folder / "server.json"
        write_file(file, self.model_dump_json(by_alias=True, indent=1))
        return file

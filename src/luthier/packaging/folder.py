"""A packaged model as files, read without running anything that came with it.

Only MLmodel and `data/luthier` are read, by the installed Luthier. The folder's `code/` is never added to `sys.path`,
its loader module is not imported, nothing is unpickled and no requirement is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from luthier.documents import parse_yaml
from luthier.errors import ModelError
from luthier.techniques.fitted_folder import plain_file

__all__ = ["LOADER", "LOADER_FILE", "ModelFolder", "read_model_folder"]

LOADER = "luthier_model"
"""Module that MLflow's own commands load a packaged model by."""

LOADER_FILE = Path(__file__).resolve().parent / "bundled" / f"{LOADER}.py"

COPY = "luthier_copy"
"""Folder in `code/` with the Luthier that packaged the model, for environments that have none."""

DATA = "data/luthier"
LARGEST_MLMODEL = 5_000_000
"""Bytes; MLflow's own have a few thousand."""


@dataclass(frozen=True)
class ModelFolder:
    """What a packaged model's folder says of itself.

    `loader` is the module that MLflow would load it by, `config` the endpoint settings it was logged with, `would_run`
    what MLflow would run, unpickle or import to load it, beside what Luthier writes. `run_id` is the run it was logged
    in, which measured it where one did.
    """

    path: Path
    loader: str
    config: Mapping[str, Any] = field(default_factory=dict)
    model_id: str | None = None
    flavors: tuple[str, ...] = ()
    would_run: tuple[str, ...] = ()
    run_id: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether Luthier logged it, so that it can be read without running its code."""
        return self.loader == LOADER

    @property
    def data(self) -> Path:
        """The fitted folder inside; no step to it may be a symbolic link."""
        path = self.path
        for name in DATA.split("/"):
            path = plain_file(path / name, str(path))
        return path


def read_model_folder(path: Path, source: str) -> ModelFolder:
    """Reads MLmodel, and looks at the names in `code/`; `source` is what the user called the folder.

    Raises:
        ModelError: there is no readable MLmodel, or a symbolic link leads out of the folder.
    """
    file = plain_file(path / "MLmodel", source)
    try:
        if file.stat().st_size > LARGEST_MLMODEL:
            raise ModelError(f"{source}: its MLmodel has more than {LARGEST_MLMODEL:,} bytes, so it is not read.")
        document = parse_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{source} is no packaged model: it has no readable MLmodel. Give the folder that holds one."
        ) from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ModelError(f"{source}: its MLmodel is not readable YAML.") from error
    flavors = document.get("flavors") if isinstance(document, dict) else None
    if not isinstance(flavors, dict):
        raise ModelError(f"{source}: its MLmodel names no flavors, so it is no MLflow model.")
    pyfunc = flavors.get("python_function")
    pyfunc = pyfunc if isinstance(pyfunc, dict) else {}
    config, model_id, run_id = pyfunc.get("config"), document.get("model_id"), document.get("run_id")
    loader = str(pyfunc.get("loader_module", ""))
    if loader == LOADER and pyfunc.get("data") != DATA:
        raise ModelError(f"{source}: its MLmodel has data {pyfunc.get('data')!r}; a model of Luthier's has {DATA!r}.")
    return ModelFolder(
        path,
        loader,
        config if isinstance(config, dict) else {},
        model_id if isinstance(model_id, str) else None,
        tuple(map(str, flavors)),
        _would_run(path, loader, pyfunc),
        run_id if isinstance(run_id, str) else None,
    )


def _would_run(path: Path, loader: str, pyfunc: Mapping[str, Any]) -> tuple[str, ...]:
    found = []
    if loader not in (LOADER, ""):
        found.append(f"import {loader}" + (f" and read {pyfunc['data']} by it" if "data" in pyfunc else ""))
    if "python_model" in pyfunc:
        found.append(f"unpickle {pyfunc['python_model']}")
    code = path / "code"
    if pyfunc.get("code") not in (None, "code"):
        found.append(f"import from {pyfunc['code']}")
    elif code.is_dir():
        for entry in sorted(code.iterdir()):
            ours = entry.name in (COPY, "__pycache__") or (
                entry.name == LOADER_FILE.name
                and not entry.is_symlink()
                and entry.is_file()
                and entry.read_bytes() == LOADER_FILE.read_bytes()
            )
            if not ours or entry.is_symlink():
                found.append(f"code/{entry.name}")
    return tuple(found)

"""Loads a Luthier model that MLflow has packaged.

An installed luthier is used when there is one, because it is at least as able to read this model;
otherwise the copy that travels with the model answers.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Any:
    if importlib.util.find_spec("luthier") is None:
        sys.path.append(str(Path(__file__).resolve().parent / "luthier_copy"))
    from luthier.packaging.model import load_packaged

    return load_packaged(path, model_config)

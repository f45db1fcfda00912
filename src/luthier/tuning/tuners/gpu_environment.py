"""The Python environment that trains and serves on one's own GPU. Luthier neither imports nor makes it.

PyTorch and vLLM take several GB, and which build fits depends on the driver, so the user makes the environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from luthier.errors import EndpointError
from luthier.home import cache_folder

__all__ = [
    "PYTHON_VARIABLE",
    "how_to_make",
    "need_training_python",
    "training_program",
    "training_python",
    "vllm_program",
]

PYTHON_VARIABLE = "LUTHIER_GPU_PYTHON"
"""Names the Python of an environment that has TRL and PEFT."""

NEEDED = ("trl", "peft", "transformers", "torch", "datasets")

PROBE = (
    "import importlib.metadata as m, json\n"
    "def found(name):\n"
    "    try: return m.version(name)\n"
    "    except m.PackageNotFoundError: return None\n"
    f"print(json.dumps({{name: found(name) for name in {NEEDED!r}}}))"
)


def requirements() -> Path:
    """The pinned packages, as a requirements file."""
    return Path(str(files("luthier.tuning.tuners").joinpath("gpu_training/requirements.txt")))


def training_program() -> Path:
    """The program that trains."""
    return requirements().with_name("train.py")


def training_python() -> Path:
    """Where the Python of the environment is, or would be: what LUTHIER_GPU_PYTHON names, else a place in the cache."""
    if given := os.environ.get(PYTHON_VARIABLE):
        return Path(given).expanduser()
    digest = hashlib.sha256(requirements().read_bytes()).hexdigest()[:16]
    return cache_folder() / "gpu" / digest / "bin" / "python"


def vllm_program() -> Path:
    """The `vllm` of the environment."""
    return training_python().with_name("vllm")


def need_training_python() -> dict[str, str]:
    """The versions of what trains, by package.

    Raises:
        EndpointError: this machine cannot train, or has no such environment; with the commands that make one.
    """
    if sys.platform == "win32":
        raise EndpointError("training on one's own GPU needs Linux; on Windows, use Luthier within WSL 2.")
    python = training_python()
    try:
        asked = subprocess.run([python, "-I", "-c", PROBE], capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        raise EndpointError(
            f"there is no Python for training at {python} ({error.strerror}). {how_to_make()}"
        ) from error
    try:
        versions: dict[str, str | None] = json.loads(asked.stdout)
    except ValueError as error:
        said = asked.stderr.strip().splitlines()[-1:] or [f"exit code {asked.returncode}"]
        raise EndpointError(f"the Python for training at {python} does not run ({said[0]}). {how_to_make()}") from error
    if missing := [name for name, version in versions.items() if version is None]:
        raise EndpointError(f"the Python for training at {python} lacks {', '.join(missing)}. {how_to_make()}")
    return {name: str(version) for name, version in versions.items()}


def how_to_make() -> str:
    """What to type for an environment."""
    python = training_python()
    folder = python.parent.parent
    return (
        f"Make it (several GB): uv venv --python 3.12 {folder} && uv pip install --python {python} "
        f"-r {requirements()}\nOr name the Python of one you have: export {PYTHON_VARIABLE}=/path/to/bin/python"
    )

"""The MLflow flavor: a fitted spec as a pyfunc model that carries its prompt, endpoint and code.

The artifact holds `spec.yaml`, `fitted.json`, `arrays.npz` and what a technique keeps in a format of its own;
nothing in it is pickled.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import SpecError
from luthier.packaging.model import endpoint_settings
from luthier.packaging.recorded_answers import FILE as RECORDED_FILE
from luthier.packaging.recorded_answers import RecordedAnswers
from luthier.spec import Fitted, Spec
from luthier.tables import frame_of
from luthier.techniques import Prompt
from luthier.techniques.heads.learners import LIGHTGBM_FILE, XGBOOST_FILE

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import Model, ModelSignature

__all__ = ["requirements", "save_model", "signature_of"]

SERVING = ("aiohttp", "genai-prices", "jinja2", "numpy", "pandas", "platformdirs", "pydantic", "pyyaml")
FOR_TECHNIQUE = {"baseline": ("scikit-learn", "scipy")}
FOR_FILE = {LIGHTGBM_FILE: "lightgbm", XGBOOST_FILE: "xgboost"}
"""Module that reads a file which a fitted spec carries; `xgboost` is in the package of that name or in xgboost-cpu."""
FOR_PROVIDER = {"local": ("filelock", "safetensors", "scipy", "tokenizers", "xllamacpp")}

NOT_ANSWERING = (
    *("cli", "starting", "api", "model_choice", "deployments", "history", "responsible_ai"),
    *("auditing", "importing", "improving", "judging", "sweeps", "tuning", "gpu_training", "experiments"),
    *("scoring", "serving", "reporting", "batches", "model_catalogue", "accounts"),
)
"""Folders of the package that no answer needs; a model's copy of it leaves them out."""

PACKAGE = Path(__file__).resolve().parent.parent

PARAM_TYPES = {"temperature": "double", "top_p": "double", "max_tokens": "long", "seed": "long"}


def requirements(fitted: Fitted) -> list[str]:
    """Pinned packages that answering needs: not tuning, plotting or the command line."""
    import mlflow

    module = type_module(fitted.spec)
    names = [
        *SERVING,
        *([] if module is None else distributions_of(module)),
        *FOR_TECHNIQUE.get(fitted.spec.technique, ()),
    ]
    for endpoint in fitted.spec.all_endpoints:
        names += FOR_PROVIDER.get(endpoint.provider, ())
        if endpoint.auth == "entra":
            names.append("azure-identity")
    for file in fitted.files:
        names += distributions_of(FOR_FILE[file]) if file in FOR_FILE else ()
    pinned = [f"{name}=={metadata.version(name)}" for name in sorted(set(names))]
    return [f"mlflow=={mlflow.__version__}", *pinned]


def type_module(spec: Spec) -> str | None:
    """The module of a task type that is not Luthier's own, `None` where there is none; a notebook's is refused."""
    module, _, name = spec.task.type.partition(":")
    if module == "__main__":
        raise SpecError(
            f"task type {name} is defined in a notebook or script, where a packaged model cannot find it; move it into "
            "a file of its own, such as task_types.py, and import it from there."
        )
    return module if name else None


def distributions_of(module: str) -> list[str]:
    """The installed packages that hold a module; none where it is a file of the user's."""
    return metadata.packages_distributions().get(module.partition(".")[0], [])


def code_of(spec: Spec) -> list[str]:
    """Files that travel with a model: what loads it, and the module of a task type that no package brings."""
    code = [str(PACKAGE / "packaging" / "bundled" / "luthier_model.py")]
    module = type_module(spec)
    if module is not None and not distributions_of(module):
        top = importlib.import_module(module.partition(".")[0])
        code.append(str(top.__file__ if not hasattr(top, "__path__") else next(iter(top.__path__))))
    return code


def signature_of(fitted: Fitted) -> ModelSignature:
    """Inputs are the columns the spec reads; outputs are the prediction columns; params are the decoding settings."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, ParamSpec, Schema

    texts = fitted.spec.task.text_columns

    # The other columns a template reads may hold anything. A text is text: MLflow's server reads a csv by it.
    inputs = Schema([ColSpec(DataType.string if name in texts else AnyType(), name) for name in fitted.spec.columns])
    outputs = Schema(
        [
            ColSpec(DataType.string if kind == "text" else DataType.double, name, required=name == "state")
            for name, kind in fitted.spec.task.kind.columns.items()
        ]
    )
    offered = fitted.spec.params if isinstance(fitted.spec, Prompt) else {}
    params = [ParamSpec(name, DataType[PARAM_TYPES[name]], default) for name, default in offered.items()]
    return ModelSignature(inputs=inputs, outputs=outputs, params=ParamSchema(params) if params else None)


def save_model(
    path: str | Path,
    fitted: Fitted,
    input_example: pd.DataFrame | None = None,
    mlflow_model: Model | None = None,
    metadata: dict[str, Any] | None = None,
    validate_serving_input: bool = False,
    recorded: RecordedAnswers | None = None,
) -> None:
    """Writes the model as a folder that every MLflow tool can load.

    Args:
        path: folder to write; must not exist or be empty.
        fitted: what answers.
        input_example: a few rows with the spec's columns, for the UI and for serving tests; made up when absent.
        mlflow_model: the model MLflow is writing, when called through `Model.log`.
        metadata: facts kept in the MLmodel file.
        validate_serving_input: read by `Model.log`, which would ask the endpoint about the example; never here.
        recorded: answers that the model is to give again wherever it is served.
    """
    import mlflow
    import pandas as pd

    del validate_serving_input

    columns = list(fitted.spec.columns)
    if input_example is None:
        input_example = pd.DataFrame({column: ["An example text."] for column in columns})
    example = frame_of(input_example, "the input example", text=fitted.spec.task.text)[columns].head(3).astype(object)
    with tempfile.TemporaryDirectory() as scratch:
        data = fitted.save(Path(scratch) / "luthier")
        if recorded is not None:
            (data / RECORDED_FILE).write_text(recorded.to_json(), encoding="utf-8")
        mlflow.pyfunc.save_model(
            path,
            loader_module="luthier_model",
            data_path=str(data),
            code_paths=code_of(fitted.spec),
            mlflow_model=mlflow_model,
            signature=signature_of(fitted),
            input_example=example,
            pip_requirements=requirements(fitted),
            model_config=endpoint_settings(fitted.spec.endpoint),
            metadata=metadata,
        )
    # For environments that have no luthier. Not among `code_paths`: those come before what is installed.
    packages = [PACKAGE]
    if any(endpoint.provider == "local" for endpoint in fitted.spec.all_endpoints):
        packages.append(PACKAGE.parent / "luthier_local")
    for package in packages:
        copy = Path(path) / "code" / "luthier_copy" / package.name
        # A store at the other end of a network takes each file by itself.
        left_out = shutil.ignore_patterns("__pycache__", "*.pyc", *NOT_ANSWERING)
        shutil.copytree(package, copy, ignore=left_out)

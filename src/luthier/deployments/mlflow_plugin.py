"""`mlflow deployments -t luthier-local`: MLflow's own commands and client for deployments on this machine.

MLflow finds this module by an entry point and calls what is in it by these names. Its command `predict` reads the input
with pandas, which turns the text `"001"` into the number 1 and a column called `date` into times; `luthier score`, a
client over HTTP and `predict` in Python do not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.deployments
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST

from luthier.deployments.deployment import Deployment, list_deployments
from luthier.deployments.deployment_setup import DeploymentSetup
from luthier.deployments.records import DeploymentRecord
from luthier.deployments.rollout import RolloutBounds
from luthier.deployments.store import DeploymentStore
from luthier.documents import parse_yaml
from luthier.errors import LuthierError, UserError
from luthier.packaging.model import SETTINGS as ENDPOINT_SETTINGS
from luthier.serving.settings import ServerSettings

if TYPE_CHECKING:
    pass

__all__ = ["LuthierLocalClient", "run_local", "target_help"]

FLAVOR = "luthier"
FLAVORS = (None, FLAVOR, "python_function")
SETTINGS = {field.name: field for field in fields(ServerSettings)}
BOUNDS = tuple(field.name for field in fields(RolloutBounds))
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def target_help() -> str:
    """What `mlflow deployments help -t luthier-local` prints."""
    settings = "\n".join(f"  {name:22} default {field.default}" for name, field in SETTINGS.items())
    return f"""luthier-local: a model answers HTTP on this machine, supervised; it outlives the terminal.

  mlflow deployments create -t luthier-local --name stars -m models:/stars@champion -C port=8080
  mlflow deployments update -t luthier-local --name stars -m models:/stars/3
  mlflow deployments predict -t luthier-local --name stars -I rows.json
  mlflow deployments delete -t luthier-local --name stars

The target URI is luthier-local; nothing follows it. An alias in the model's URI is followed.
Settings, as -C NAME=VALUE:
{settings}
  {"trust":22} yes: run the code that came with a model which Luthier did not log
  {"endpoint.NAME":22} point the model elsewhere: {", ".join(ENDPOINT_SETTINGS)}
  {"":22} as in -C endpoint.base_url=https://...
Bounds of an update: {", ".join(BOUNDS)}
More: luthier deploy --help
"""


def run_local(name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, Any] | None = None) -> None:
    """Serves a model in the foreground until a signal ends it: `mlflow deployments run-local`."""
    del name
    from luthier.serving.models import open_model
    from luthier.serving.server import serve

    with _in_mlflow_words():
        _check_flavor(flavor)
        settings, endpoint, trust, bounds = _read_config(config, ServerSettings())
        if bounds:
            raise UserError(f"a server in the foreground has no rollout; leave {', '.join(bounds)} out.")
        serve(open_model(model_uri, settings, endpoint, trust), settings)


class LuthierLocalClient(mlflow.deployments.BaseDeploymentClient):  # type: ignore[misc]
    """MLflow's client of deployments on this machine; get it by `get_deploy_client("luthier-local")`.

    Args:
        target_uri: `luthier-local`.
    """

    def __init__(self, target_uri: str) -> None:
        if target_uri != "luthier-local":
            raise MlflowException(
                f"target {target_uri!r} is none; give luthier-local, without anything behind it.",
                INVALID_PARAMETER_VALUE,
            )
        super().__init__(target_uri)

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Makes a deployment, and returns when it answers.

        Raises:
            MlflowException: it is there already, a setting is wrong, or the model does not pass its checks.
        """
        with _in_mlflow_words():
            _check_flavor(flavor)
            _check_no_endpoint(endpoint)
            if name in _names():
                raise UserError(f"there is a deployment {name} already; update or delete it.")
            settings, moved, trust, bounds = _read_config(config, ServerSettings())
            return _deployed(name, model_uri, settings, moved, trust, bounds)

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Gives a deployment another model or other settings, and returns when that answers; the rest stays.

        Raises:
            MlflowException: there is none of this name, or the new revision was taken back.
        """
        with _in_mlflow_words():
            _check_flavor(flavor)
            _check_no_endpoint(endpoint)
            found = _record(name)
            last = found.revisions[-1]
            settings, moved, trust, bounds = _read_config(config, replace(last.settings, port=found.port))
            return _deployed(
                name,
                model_uri or found.model_uri,
                settings,
                moved or last.endpoint,
                trust or last.trust,
                bounds,
            )

    def delete_deployment(
        self, name: str, config: Mapping[str, Any] | None = None, endpoint: str | None = None
    ) -> None:
        """Ends a deployment and forgets it; nothing where there is none."""
        del config
        with _in_mlflow_words():
            _check_no_endpoint(endpoint)
            if name in _names():
                Deployment(name).delete()

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """Every deployment of this user on this machine."""
        with _in_mlflow_words():
            _check_no_endpoint(endpoint)
            return [_described(one) for one in list_deployments()]

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """One deployment: where it answers, how it is, and its revisions.

        Raises:
            MlflowException: there is none of this name.
        """
        with _in_mlflow_words():
            _check_no_endpoint(endpoint)
            _record(name)
            return _described(Deployment(name))

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> mlflow.deployments.PredictionsResponse:
        """What a deployment predicts, as `/invocations` answers.

        Args:
            deployment_name: as `list_deployments` has it.
            inputs: a DataFrame or anything that `luthier.score` takes, or a body of MLflow's scoring protocol.
            endpoint: not known here.

        Raises:
            MlflowException: there is none of this name, it does not answer, or the rows do not fit its model.
        """
        with _in_mlflow_words():
            _check_no_endpoint(endpoint)
            if deployment_name is None:
                raise UserError("give the name of a deployment: --name NAME.")
            _record(deployment_name)
            return mlflow.deployments.PredictionsResponse(
                predictions=Deployment(deployment_name).predicted_records(_unwrapped(inputs))
            )


@contextmanager
def _in_mlflow_words() -> Iterator[None]:
    """Makes MLflow's exceptions of Luthier's, which its commands and callers know."""
    try:
        yield
    except LuthierError as error:
        raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error


def _names() -> list[str]:
    return [one.name for one in list_deployments()]


def _record(name: str) -> DeploymentRecord:
    with DeploymentStore() as store:
        try:
            return store.one(name)
        except UserError as error:
            raise MlflowException(str(error), RESOURCE_DOES_NOT_EXIST) from error


def _deployed(
    name: str,
    model_uri: str,
    settings: ServerSettings,
    endpoint: Mapping[str, Any],
    trust: bool,
    bounds: Mapping[str, str],
) -> dict[str, Any]:
    done = DeploymentSetup(
        model_uri, "local", name=name, settings=settings, endpoint=endpoint, trust=trust, config=bounds
    ).run()
    # MLflow's command shows the name alone; the key of a new deployment is shown only now.
    print(done.message, file=sys.stderr)
    return _described(Deployment(name))


def _described(found: Deployment) -> dict[str, Any]:
    return {**found.to_document(), "flavor": FLAVOR}


def _check_flavor(flavor: str | None) -> None:
    if flavor not in FLAVORS:
        raise UserError(f"flavor {flavor!r} is not for this target; leave it out, or give {FLAVOR} or python_function.")


def _check_no_endpoint(endpoint: str | None) -> None:
    if endpoint is not None:
        raise UserError("this target has no endpoints beside its deployments; leave --endpoint out and give --name.")


def _read_config(
    config: Mapping[str, Any] | None, settings: ServerSettings
) -> tuple[ServerSettings, dict[str, Any], bool, dict[str, str]]:
    """Settings of the server, of the endpoint, whether code is trusted, and bounds; commands give texts for all."""
    given: dict[str, Any] = {}
    endpoint: dict[str, Any] = {}
    trust, bounds = False, {}
    for name, value in (config or {}).items():
        head, _, tail = name.partition(".")
        if name in SETTINGS:
            given[name] = _setting(name, value)
        elif head == "endpoint" and tail in ENDPOINT_SETTINGS:
            endpoint[tail] = parse_yaml(value) if isinstance(value, str) else value
        elif name == "trust":
            trust = _truth(name, value)
        elif name in BOUNDS:
            bounds[name] = str(value)
        else:
            raise UserError(
                f"there is no setting {name!r}; there are: {', '.join(SETTINGS)}, trust, endpoint.NAME, "
                f"{', '.join(BOUNDS)}."
            )
    if "keys_file" in given:
        given.setdefault("without_key", False)
    elif given.get("without_key"):
        given["keys_file"] = None
    return replace(settings, **given), endpoint, trust, bounds


def _setting(name: str, value: Any) -> Any:
    default = SETTINGS[name].default
    if name in ("keys_file", "log_file"):
        return None if value is None else Path(value).expanduser().absolute()
    if isinstance(default, bool):
        return _truth(name, value)
    if isinstance(default, str):
        return str(value)
    kind = int if isinstance(default, int) else float
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise UserError(f"{name} is {value!r}; give a number, as in -C {name}=60.") from None


def _truth(name: str, value: Any) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in known:
        raise UserError(f"{name} is {value!r}; give yes or no.")
    return known[str(value).lower()]


def _unwrapped(inputs: Any) -> Any:
    """The rows in a body of the scoring protocol; `mlflow deployments predict` gives one as a frame with one column."""
    import pandas as pd

    body = inputs
    if isinstance(inputs, pd.DataFrame):
        if len(inputs.columns) != 1 or inputs.columns[0] not in FORMS or inputs.empty:
            return inputs
        cells = inputs[inputs.columns[0]]
        body = {inputs.columns[0]: cells.to_dict() if isinstance(cells.index[0], str) else cells.tolist()}
    if not isinstance(body, Mapping) or len(body) != 1 or next(iter(body)) not in FORMS:
        return inputs
    ((form, data),) = body.items()
    if form != "dataframe_split":
        return data
    if not isinstance(data, Mapping) or not {"columns", "data"} <= set(data):
        raise UserError("dataframe_split has to hold `columns` and `data`.")
    return pd.DataFrame(data["data"], columns=data["columns"])

"""Which run a person means: by its id, by a URI of it, or by a registered model that was packaged from it."""

from __future__ import annotations

from luthier.errors import ModelError
from luthier.tracking.runs import version_of
from luthier.tracking.stores import connect_to_read

__all__ = ["run_id_of"]

RUN, MODEL = "runs:/", "models:/"


def run_id_of(given: str) -> str:
    """The id behind an id, `runs:/ID`, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        ModelError: there is no such model, or its run is not known.
        UserError: the store cannot be reached.

    Examples:
        >>> run_id_of("runs:/0123456789abcdef/model"), run_id_of("0123456789abcdef")
        ('0123456789abcdef', '0123456789abcdef')
    """
    if given.startswith(RUN):
        return given.removeprefix(RUN).partition("/")[0]
    if not given.startswith(MODEL):
        return given
    connect_to_read(f"no registered model {given}")
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        named = version_of(given)
        run_id = None if named is None else mlflow.MlflowClient().get_model_version(*named).run_id
    except MlflowException as error:
        raise ModelError(f"no registered model {given} in the MLflow store {mlflow.get_tracking_uri()}.") from error
    if not run_id:
        raise ModelError(
            f"{given} names no run; give models:/NAME@ALIAS or models:/NAME/VERSION of a model that luthier log "
            "registered."
        )
    return str(run_id)

"""A deployment whose server runs inside the test: what a user and MLflow see of one, without the controller.

Nothing may start a controller meanwhile: it would take the process of the tests for the server, and end it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from luthier.deployments.deployment import Deployment
from luthier.deployments.plan import DeploymentRequest
from luthier.deployments.records import ResolvedModel, ServerProcess, revision_folder
from luthier.deployments.store import DeploymentStore
from luthier.engine.loop import wait_for
from luthier.processes import start_time
from luthier.serving.control import bound_socket, http_socket_path
from luthier.serving.listening import listening_socket, url_of
from luthier.serving.models import open_model
from luthier.serving.server import RunningServer
from luthier.serving.settings import ServerSettings


@contextmanager
def deployed(name: str, model: Path, settings: ServerSettings) -> Iterator[Deployment]:
    """Revision 1 of a deployment of a packaged model's folder; it answers on its private socket and on TCP."""
    with listening_socket(settings.host, settings.port) as shared:
        with DeploymentStore() as store:
            request = DeploymentRequest(name=name, model_uri=f"models:/{name}/1", settings=settings)
            number = store.add_revision(request, ResolvedModel(f"models:/{name}/1", "1", "sqlite:///none.db"))
            folder = revision_folder(name, number)
            folder.mkdir(parents=True)
            shutil.copytree(model, folder / "model")
            store.set_port(name, int(url_of(shared).rpartition(":")[2]))
            store.set_process(name, number, ServerProcess(os.getpid(), start_time(os.getpid()) or ""))
            store.set_state(name, number, "serving")
        server = RunningServer(open_model(str(folder / "model"), settings), settings, revision=number)
        with bound_socket(http_socket_path(folder)) as private:
            wait_for(server.start())
            wait_for(server.accept(private, needs_key=False))
            wait_for(server.accept(shared))
            try:
                yield Deployment(name)
            finally:
                wait_for(server.drain())

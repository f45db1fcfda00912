"""The verb that brings home what already exists at a service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from luthier.api.arguments import need_texts
from luthier.documents import described
from luthier.errors import UserError
from luthier.importing.import_report import ImportReport
from luthier.importing.import_setup import FOLDER, ImportSetup
from luthier.providers.endpoint import Endpoint
from luthier.tasks.task import Task
from luthier.techniques import read_endpoint

__all__ = ["account_endpoint", "import_from"]

WITHOUT_FILE = ("openai", "local")
"""Providers whose address and key's variable are known; any other account is named by an endpoint file."""


def import_from(
    endpoint: Endpoint | str | Path,
    *,
    task: Task | str | Path | None = None,
    since: date | str | None = None,
    name: str | Sequence[str] | None = None,
    folder: str | Path = FOLDER,
    register: str | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Brings the fine-tuning jobs of an account into MLflow: a run of each, and a registered version of each model.

    Typed again, it brings what is new and changes what has changed; no job has two runs.

    Args:
        endpoint: of the account, or the file that has it, or `openai` or `local`. Its model is not used.
        task: what the jobs were trained for, or its file; their runs go to its experiment.
        since: jobs created before this day (UTC) are left out; a date, or text such as `2026-01-31`.
        name: patterns such as `stars*`, of which a job's id, suffix, tuned model or deployment must fit one.
        folder: of the spec files.
        register: registered model that all models become versions of; one per task, or per model, when absent.
        dry_run: read everything and write nothing.

    Returns:
        What is in MLflow now, and in `.missing` what could not be brought and why; `.show()` prints it.

    Raises:
        EndpointError: the account cannot be read, as with a wrong key; nothing was written.
        UserError: the tracking store cannot be reached, or `since` is no day.
    """
    if isinstance(endpoint, str) and endpoint in WITHOUT_FILE:
        endpoint = account_endpoint(endpoint)
    elif isinstance(endpoint, str | Path):
        endpoint = Endpoint.model_validate(read_endpoint(endpoint)["endpoint"])
    if not isinstance(endpoint, Endpoint):
        raise UserError(f"an endpoint, its file, or one of {', '.join(WITHOUT_FILE)} is wanted; {described(endpoint)}.")
    known = task if task is None or isinstance(task, Task) else Task.read(task)
    if since is not None and not isinstance(since, date | str):
        raise UserError(f"since is a day, as in '2026-01-31'; given: {described(since)}.")
    names = None if name is None else need_texts("name", name)
    setup = ImportSetup(endpoint, task=known, since=since, name=names, folder=folder, register=register)
    return setup.plan() if dry_run else setup.run()


def account_endpoint(provider: str, file: str | Path | None = None) -> Endpoint:
    """The endpoint of an account.

    Args:
        provider: such as `openai`.
        file: an endpoint file of this provider; needed where the address is not known.

    Raises:
        UserError: the file is of another provider, or is missing.
        SpecError: the file is no endpoint.
    """
    if file is None:
        if provider not in WITHOUT_FILE:
            raise UserError(f"name the account: luthier import {provider} --endpoint FILE. models/endpoints/ has some.")
        return Endpoint.model_validate({"provider": provider, "model": "fine-tuning"})
    found = Endpoint.model_validate(read_endpoint(file)["endpoint"])
    if found.provider != provider:
        raise UserError(
            f"{file} is an endpoint of {found.provider}. Type: luthier import {found.provider} --endpoint {file}"
        )
    return found

"""Models behind addresses: which one an alias means now, and its files copied to where a server reads them.

A deployment starts again without its tracking store, so each revision has a copy of its model. Copying is done by a
process of its own (`python -m luthier.deployments.fetching URI FOLDER`), because a store that is no local file needs
MLflow, whose memory the controller would keep for ever.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

from luthier.deployments.records import ResolvedModel
from luthier.errors import LuthierError, ModelError
from luthier.tracking.store_file import REGISTERED, local_file, registered_version, store_uri

__all__ = ["FETCH_SECONDS", "absolute_uri", "fetch_model", "follows_alias", "resolved_model", "version_behind"]

FETCH_SECONDS = 600.0


def follows_alias(model_uri: str) -> bool:
    """Whether an address can come to mean another version."""
    named = REGISTERED.fullmatch(model_uri)
    return named is not None and named[2] is not None


def resolved_model(model_uri: str) -> ResolvedModel:
    """The one model that an address means now.

    Raises:
        ModelError: the registry knows no such model or alias.
    """
    if Path(model_uri).is_dir():
        return ResolvedModel(str(Path(model_uri).absolute()), None, absolute_uri(store_uri()))
    if REGISTERED.fullmatch(model_uri) is None:
        return ResolvedModel(model_uri, None, absolute_uri(store_uri()))
    version = version_behind(model_uri)
    fixed = f"{model_uri.partition('@')[0]}/{version}" if "@" in model_uri else model_uri
    return ResolvedModel(fixed, version, absolute_uri(store_uri()))


def absolute_uri(uri: str) -> str:
    """A store's address that means the same in every folder: the controller works in another one than the user."""
    relative = re.fullmatch(r"sqlite:///([^/:?#][^?#]*)(.*)", uri)
    return uri if relative is None else f"sqlite:///{Path(relative[1]).absolute()}{relative[2]}"


def version_behind(model_uri: str, tracking_uri: str | None = None) -> str:
    """The version of a registered model that an address means now.

    Args:
        model_uri: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        tracking_uri: the store to ask; the one that is set when absent.

    Raises:
        ModelError: the registry knows no such model or alias, or does not answer.
    """
    known = registered_version(model_uri, tracking_uri)
    if known is not None:
        return known[1]
    file = local_file(tracking_uri)
    if file is not None and not file.exists():
        # MLflow would make an empty store there, in the way of one that is moved back.
        raise ModelError(f"no model at {model_uri}: there is no tracking store at {file}")
    import mlflow
    from mlflow.exceptions import MlflowException

    from luthier.tracking.stores import connect

    connect()
    named = REGISTERED.fullmatch(model_uri)
    assert named is not None
    name, alias, version = named.groups()
    client = mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    try:
        found = client.get_model_version(name, version) if version else client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        raise ModelError(
            f"no model at {model_uri} (tracking store {tracking_uri or store_uri()}): {error.message}"
        ) from error
    return str(found.version)


async def fetch_model(model: ResolvedModel, folder: Path) -> None:
    """Copies a model into a folder, which is there whole or not at all.

    Raises:
        ModelError: it cannot be read, or that took longer than `FETCH_SECONDS`.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "luthier.deployments.fetching", model.uri, str(folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"MLFLOW_TRACKING_URI": model.tracking_uri},
    )
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            _, said = await program.communicate()
    except TimeoutError:
        raise ModelError(f"the files of {model.uri} were not there within {FETCH_SECONDS:.0f} s.") from None
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    if program.returncode != 0:
        why = said.decode(errors="replace").strip()[-2000:]
        raise ModelError(why or f"the program that copied {model.uri} ended (exit code {program.returncode})")


def _record(folder: Path) -> None:
    """Adds the recorded answers of a model that an earlier Luthier packaged, from its run and the journal."""
    from luthier.packaging.folder import read_model_folder
    from luthier.packaging.recorded_answers import FILE, read_recorded

    model = read_model_folder(folder, str(folder))
    if not model.is_ours or model.run_id is None or read_recorded(model.data) is not None:
        return
    from luthier.packaging.recording import recorded_of

    recorded = recorded_of(str(folder))
    if recorded is not None:
        (model.data / FILE).write_text(recorded.to_json(), encoding="utf-8")


def main(model_uri: str, folder: Path) -> int:
    """Copies the model at an address into a folder; returns the exit code."""
    from filelock import FileLock

    from luthier.packaging.loading import located

    partial = folder.with_name(f"{folder.name}.partial")
    try:
        # A copy goes on when the controller that began it is killed; the next controller begins one too.
        with FileLock(folder.with_name(f"{folder.name}.lock"), mode=0o600):
            if folder.is_dir():
                return 0
            # Left by a copy that was killed.
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(located(model_uri), partial, symlinks=True)
            _record(partial)
            partial.rename(folder)
    except LuthierError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))

"""An account with thirty jobs in every state; made once, and each test gets a copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import KEY
from tests.importing.account import Account, build_account, running


@pytest.fixture(scope="session")
def account_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the account's server."""
    folder = tmp_path_factory.mktemp("account") / "service"
    build_account(folder)
    return folder


@pytest.fixture
def account(account_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """The account, in front of a running server; its key is in STARS_KEY."""
    monkeypatch.setenv("STARS_KEY", KEY)
    folder = tmp_path / "service"
    shutil.copytree(account_folder, folder)
    with running(folder) as account:
        yield account

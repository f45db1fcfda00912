"""The lock of an image: every package at the version installed here, with hashes where an index can be asked."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from luthier.deployments.requirements_lock import locked
from luthier.errors import MissingPart, ModelError
from tests.conftest import REPOSITORY


def pins(text: str) -> list[str]:
    return [line.removesuffix(" \\") for line in text.splitlines() if line[:1].isalnum()]


@pytest.fixture
def no_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))


@pytest.mark.usefixtures("no_uv")
def test_a_lock_has_what_is_needed_at_the_versions_installed_here() -> None:
    lock = locked(["jinja2", "uvicorn"])
    assert pins(lock.text) == [
        f"{name}=={metadata.version(name)}" for name in ("click", "h11", "jinja2", "markupsafe", "uvicorn")
    ]
    assert not lock.has_hashes and "pip install uv" in str(lock.why_no_hashes)


@pytest.mark.usefixtures("no_uv")
def test_what_other_systems_need_is_left_out() -> None:
    # colorama is for Windows alone.
    assert pins(locked(["click"]).text) == [f"click=={metadata.version('click')}"]


def test_a_package_that_is_not_installed_is_named_with_what_to_type() -> None:
    with pytest.raises(MissingPart, match="pip install 'no-such-package'"):
        locked(["no-such-package"])


def test_another_version_than_the_model_was_packaged_with_is_refused() -> None:
    with pytest.raises(ModelError, match=r"jinja2==1\.0.*pip install 'jinja2==1\.0'"):
        locked(["jinja2==1.0"])


@pytest.mark.slow
def test_each_package_has_the_hashes_of_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{REPOSITORY / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    lock = locked(["jinja2"])
    assert lock.has_hashes and lock.why_no_hashes is None
    assert [line.partition("==")[0] for line in pins(lock.text)] == ["jinja2", "markupsafe"]
    # Built for each platform, so that one lock is for all.
    assert lock.text.count("--hash=sha256:") > 10
    assert "index" not in lock.text and "http" not in lock.text


@pytest.mark.slow
def test_without_an_index_the_lock_has_no_hashes_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{REPOSITORY / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    lock = locked(["jinja2"])
    assert len(pins(lock.text)) == 2 and not lock.has_hashes
    assert "uv could not find them" in str(lock.why_no_hashes)

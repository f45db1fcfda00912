"""Where the files of the supervisor lie."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from luthier.deployments.controller_start import supervision_folder
from luthier.errors import UserError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no deployments there")


def test_what_is_run_lies_where_others_cannot_write_though_they_may_in_the_home(clean_home: Path) -> None:
    clean_home.mkdir(mode=0o777)
    (clean_home / "deployments").mkdir()
    (clean_home / "deployments").chmod(0o777)
    assert supervision_folder().stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_a_link_is_refused(clean_home: Path, tmp_path: Path) -> None:
    clean_home.mkdir()
    (clean_home / "deployments").symlink_to(tmp_path)
    with pytest.raises(UserError, match="LUTHIER_HOME"):
        supervision_folder()

"""Where Luthier keeps what outlives a command."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder", "luthier_home"]


def luthier_home() -> Path:
    """Folder of the journal and of the embedded server's state; made on first use, mode 0700.

    `LUTHIER_HOME` names it; without it, the user's data folder of the platform.
    """
    given = os.environ.get("LUTHIER_HOME")
    if given:
        folder = Path(given).expanduser()
    else:
        import platformdirs

        folder = Path(platformdirs.user_data_dir("luthier", appauthor=False))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def cache_folder() -> Path:
    """Folder of downloaded weights and sample data, which can be deleted at any time.

    `LUTHIER_CACHE` names it; without it, the user's cache folder of the platform.
    """
    given = os.environ.get("LUTHIER_CACHE")
    if given:
        folder = Path(given).expanduser()
    else:
        import platformdirs

        folder = Path(platformdirs.user_cache_dir("luthier", appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    return folder

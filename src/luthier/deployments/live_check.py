"""Live answers held against recorded ones by another process: `python -P -m luthier.deployments.live_check FOLDER`.

Reading a model takes memory that the controller would keep for ever.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from luthier.deployments.rollout import CheckOutcome
from luthier.errors import LuthierError
from luthier.serving.control import http_socket_path
from luthier.serving.server_file import ServerFile

__all__ = ["check_revision"]


async def check_revision(folder: Path) -> CheckOutcome:
    """Compares the answers of the server of a revision's folder, over its private socket."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "luthier.deployments.live_check", str(folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        answered, said = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    if program.returncode != 0:
        why = said.decode(errors="replace").strip()[-2000:] or f"the check ended (exit code {program.returncode})"
        return CheckOutcome(False, f"its answers could not be checked: {why}")
    return CheckOutcome(**json.loads(answered))


def main(folder: Path) -> int:
    """Prints the outcome as JSON; returns the exit code."""
    from luthier.deployments.parity import check_live

    server = ServerFile.read(folder)
    try:
        found = check_live(
            http_socket_path(folder),
            Path(server.model),
            server.endpoint,
            timeout_seconds=server.settings.timeout_seconds + 5,
        )
    except LuthierError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps({"passed": found.passed, "words": found.words}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

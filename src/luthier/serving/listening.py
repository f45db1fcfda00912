"""The TCP socket that clients connect to, which a server opens, or the controller of deployments."""

from __future__ import annotations

import socket
import sys

from luthier.errors import UserError

__all__ = ["BACKLOG", "listening_socket", "url_of"]

BACKLOG = 2048
"""Connections that wait to be accepted; what comes while a server is replaced waits there too."""


def listening_socket(host: str, port: int) -> socket.socket:
    """A TCP socket at which connections wait until a server accepts them.

    Raises:
        UserError: the port is taken, or the address is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            if sys.platform != "win32":
                # A server that has just ended does not keep its port; on Windows this would take a port that is in use.
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise UserError(
            f"nothing can listen at {host}, port {port}: {error.strerror}. Give another --port or --host."
        ) from error
    return listening


def url_of(listening: socket.socket) -> str:
    """The address of a TCP socket for a client on this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

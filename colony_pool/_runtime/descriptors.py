"""Letting go of a socket that a fork has copied: the parent goes on using it, and must not hear of it."""

from __future__ import annotations

import _socket  # the C sockets, of which gevent's have one
import os
from contextlib import suppress
from typing import Any


def close_handle(sock: Any) -> None:
    """Close this process's handle on ``sock`` now; gevent, in ``os.close`` too, would leave that to its hub."""
    with suppress(OSError, TypeError):
        _socket.close(_socket.socket.detach(getattr(sock, "_sock", sock)))


def replace_handle(descriptor: int) -> None:
    """Put a dead socket in the place of one that a copied greenlet may use, or wait for: it finds its end there.

    To close the descriptor would leave its number to another, and libev aborts when it meets one that is closed.
    """
    dead, other = _socket.socketpair()
    other.close()
    os.dup2(dead.fileno(), descriptor, inheritable=False)
    dead.close()


def let_go(sock: Any, *, in_use: bool) -> None:
    """Let go of ``sock``. ``in_use``: a greenlet may have been copied that uses it; no thread is ever copied."""
    native = getattr(sock, "_sock", None)
    if not in_use or native is None:
        close_handle(sock)
        return
    with suppress(OSError, TypeError):
        descriptor = _socket.socket.fileno(native)
        if descriptor >= 0:
            replace_handle(descriptor)

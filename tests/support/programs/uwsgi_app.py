"""A WSGI application with a pool of its module; ``WARM`` calls are made as it is imported, in uWSGI's master."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from threading import Event
from typing import Any

from prometheus_client import generate_latest

from colony_pool import ColonyPool

pool = ColonyPool(os.environ["COLONY"], token_cache=None, shared=os.environ.get("SHARED") or None, name="p")
for number in range(int(os.environ.get("WARM", "0"))):
    pool.agent(f"col_master_{number}").get("/users/me")
# A thread that waits for the interpreter's lock as uWSGI forks can stop the child, whatever a library does. Those of
# the pool end within a second.
for _ in range(40):
    if len(os.listdir("/proc/self/task")) == 1:
        break
    Event().wait(0.05)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """``/KEY``: whom the API takes the key's agent for. ``/``: the process, and what it has counted."""
    try:
        key = environ["PATH_INFO"].strip("/")
        body = pool.agent(key).get("/users/me").json()["id"].encode() if key else _counted()
        start_response("200 OK", [("Content-Length", str(len(body)))])
    except Exception as error:
        body = repr(error).encode()
        start_response("500 Oops", [("Content-Length", str(len(body)))])
    return [body]


def _counted() -> bytes:
    lines = generate_latest().decode().splitlines()
    made = sum(float(line.split()[-1]) for line in lines if line.startswith("colony_pool_attempts_total"))
    return f"{os.getpid()} {made:.0f}".encode()

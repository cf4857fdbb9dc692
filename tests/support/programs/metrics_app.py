"""A WSGI application on one ``ColonyPool``, made when it is loaded, as ``gunicorn --preload`` does.

``/token/KEY`` answers with the pid and whether there was a token; ``/open`` opens this worker's breaker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from colony_pool import ColonyAPIError, ColonyPool

pool = ColonyPool(token_cache=None, name="app", max_wait=0)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Do what the path says; answer with the worker's pid."""
    what, _, key = environ["PATH_INFO"].strip("/").partition("/")
    words = "done"
    if what == "token":
        try:
            pool.agent(key).token()
        except ColonyAPIError as error:
            words = type(error).__name__
    elif what == "open":
        pool.breaker.open()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {words}".encode()]

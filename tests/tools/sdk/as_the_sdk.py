"""A plugin for the SDK's own test suite: our clients in the place of its own, if so asked, and no network.

``tests.tools.sdk_suite`` copies it, so that nothing of this folder is on the path of that suite. In its environment:
``SDK_SUITE_OURS`` puts our clients there, ``SDK_SUITE_REACHED`` is a file for what would have left this machine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import colony_sdk
import colony_sdk.async_client
import colony_sdk.client

LOOPBACK = ("127.0.0.1", "::1", "localhost", "", None)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if host not in LOOPBACK:
        with Path(os.environ["SDK_SUITE_REACHED"]).open("a") as file:
            print(event, host, file=file)
        raise OSError(f"no network here: {event} {host}")


if os.environ.get("SDK_SUITE_OURS"):
    import colony_pool.sdk as ours

    for place in (colony_sdk, colony_sdk.client):
        setattr(place, "ColonyClient", ours.ColonyClient)  # noqa: B010 - a type checker would object
    for place in (colony_sdk, colony_sdk.async_client):
        setattr(place, "AsyncColonyClient", ours.AsyncColonyClient)  # noqa: B010
sys.addaudithook(_refuse)

"""The options ``--shared`` and ``--base-url``: which record of which API a command is about."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from .._http.url import check_base_url
from .._store.bounded import BoundedStore, Bounds
from .._store.factory import open_store
from .._store.protocol import Store
from .._store.redis import ALLOWED, SCHEMES, problem_with, shown
from ..config import DEFAULT_BASE_URL
from .exit_codes import MISUSED, Failed

_PATIENCE = 5.0  # seconds: an operator may be far from a slow server, and no agent waits here
HOST, NONE = "host", "none"
_THIS_HOST = "this host"
VARIABLE = "COLONY_POOL_SHARED"  # a URL may hold a password, and all users of a host can read a command line

BaseUrlOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The API. Default: COLONY_BASE_URL, else the public one.", show_default=False),
]
StoreOption = Annotated[
    str,
    typer.Option(
        "--shared",
        metavar="host|URL",
        envvar=VARIABLE,
        help=f"Read the record of this host, or of a Redis or Valkey ({ALLOWED}).",
    ),
]


# Messages of the library name its Python options. The shell has the same ones under names of its own.
_NAMES = {
    "base_url": "--base-url", "max_wait": "--max-wait", "shared=": "--shared ", "proxy=None": "--proxy none",
    "proxy='": "--proxy '", "proxy=": "--proxy", "proxy: ": "--proxy: ", "ca_certs='": "--ca-certs '",
    "ca_certs=": "--ca-certs", ", or allow_insecure=True": "",
}  # fmt: skip


def shell_names(text: str) -> str:
    """Return ``text`` with the names that a shell has for the library's options."""
    for python, shell in _NAMES.items():
        text = text.replace(python, shell)
    return text


def check_api(base_url: str | None, *, sends_key: bool) -> str:
    """Return the API's address from the option, the environment or the default, or raise ``Failed``."""
    given = base_url or os.environ.get("COLONY_BASE_URL") or DEFAULT_BASE_URL
    try:
        api = check_base_url(given, allow_insecure=True)
    except ValueError as error:
        raise Failed(MISUSED, shell_names(str(error))) from None
    if sends_key:
        try:
            check_base_url(api, allow_insecure=False)
        except ValueError:
            raise Failed(
                MISUSED, f"--base-url {api}: an API key would travel in clear text", hint="Use https://"
            ) from None
    return api


def check_shared(shared: str) -> str | None:
    """Return the value for ``ColonyPool(shared=...)``, or raise ``Failed``."""
    if shared in (HOST, NONE):
        return None if shared == NONE else HOST
    if shared.partition("://")[0] not in SCHEMES or "://" not in shared:
        raise Failed(
            MISUSED, f"--shared {shown(shared)}: must be {HOST}, {NONE}, or a URL that begins with {ALLOWED}"
        )
    problem = problem_with(shared)
    if problem is not None:
        raise Failed(MISUSED, shell_names(str(problem)))
    return shared


def open_endpoint_store(shared: str, base_url: str | None) -> tuple[Store, str]:
    """Return the store of an API, and the API's address. Nothing is read yet."""
    api = check_api(base_url, sends_key=False)
    store = open_store(check_shared(shared), api, timeout=_PATIENCE)
    if store is None:
        raise Failed(MISUSED, f"--shared {NONE}: there is no record to read", hint="See status --url")
    return BoundedStore(store, Bounds.of_operator(), time.monotonic), api


def describe_store(shared: str) -> str:
    """Name the store without a password."""
    return _THIS_HOST if shared == HOST else shown(shared)


def with_user(place: str) -> str:
    """Add the user to ``place``: each user of a host has a record, and root sees only its own."""
    return f"{place} (user {_user()})" if place == _THIS_HOST else place


def _user() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    except ImportError:  # Windows
        return os.environ.get("USERNAME", "of this session")
    except KeyError:  # as in a container
        return str(os.geteuid())

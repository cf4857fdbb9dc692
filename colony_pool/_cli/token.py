"""``colony-pool token``: a JWT for shell scripts and cron."""

from __future__ import annotations

import json
import logging
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from .. import ColonyPool
from .._aio.options import PoolOptions
from .._http.proxies import ENVIRONMENT, from_environment
from ..errors import (
    CircuitOpenError,
    ColonyAPIError,
    ColonyAuthError,
    ColonyConflictError,
    ColonyNotFoundError,
    ColonyRateLimitError,
    ColonyTwoFactorRequiredError,
    ColonyValidationError,
)
from .exit_codes import DENIED, INTERRUPTED, MISUSED, THROTTLED, UNAVAILABLE, Failed
from .store_option import HOST, NONE, VARIABLE, BaseUrlOption, check_api, check_shared, shell_names

HELP = """Print a JWT for an API key: for shell scripts and cron.

Prints a token from the cache on disk (shared with colony-sdk) at once, or else requests one. While the server is \
down it waits. All cron jobs and shell scripts of a host share one breaker: together they send one probe, and one \
request for each key. The key comes from COLONY_API_KEY or from a file, never from the command line, which every \
user of the host can read.

Example: curl -H "Authorization: Bearer $(colony-pool token)" https://thecolony.ai/api/v1/users/me
"""
EXIT_CODES = (
    "Exit codes: 0 ok, 2 misused (no key, bad option), 3 denied (the API refused this key), 4 throttled (the server "
    "limits the rate), 5 unavailable (the server is down, or there is no network), 130 Ctrl-C."
)

_REFUSALS = (ColonyAuthError, ColonyNotFoundError, ColonyConflictError, ColonyValidationError)
_KEY_BYTES = 4096  # no key is longer, and a file may have gigabytes
_SOON = 60.0  # seconds until another run makes sense, if the server did not say


def command(
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the API key. Default: COLONY_API_KEY.", show_default=False),
    ] = None,
    base_url: BaseUrlOption = None,
    max_wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="How long to wait while the API is down: 3600 waits for an hour, 0 not at all.",
        ),
    ] = 122.0,
    shared: Annotated[
        str,
        typer.Option(
            metavar="none|host|URL",
            envvar=VARIABLE,
            help="Who shares the breaker: no one, this host, or all users of a Redis or Valkey.",
        ),
    ] = HOST,
    proxy: Annotated[
        str,
        typer.Option(
            metavar="environment|none|URL",
            help="The HTTP proxy: what HTTPS_PROXY and NO_PROXY say, none, or this one. All users of a host can read "
            "a command line: a password belongs into HTTPS_PROXY.",
        ),
    ] = ENVIRONMENT,
    ca_certs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Whom TLS trusts. Default: SSL_CERT_FILE, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, or the system's.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, on failure too.")] = False,
) -> None:
    """Carry out ``colony-pool token``; ``HELP`` says what it does."""
    key = _key(api_key_file)
    logging.getLogger("colony_pool").addHandler(logging.NullHandler())  # stderr gets one line only
    try:
        options: PoolOptions = {
            "runtime": "threads", "registry": None, "shared": check_shared(shared),
            "proxy": None if proxy == NONE else proxy, "ca_certs": ca_certs,
        }  # fmt: skip
        api = check_api(base_url, sends_key=True)
        jwt, expires = _fetch(key, api, max_wait, options)
    except ValueError as error:
        raise Failed(MISUSED, shell_names(_without_key(str(error), key))) from None
    except ColonyAPIError as error:
        unused = from_environment(api)[1] if proxy == ENVIRONMENT else ""  # the log has it, which nobody sees here
        raise _explained(error, key, unused) from None
    print(json.dumps({"token": jwt, "expires_at": expires}) if as_json else jwt)


def _fetch(key: str, base_url: str, max_wait: float, options: PoolOptions) -> tuple[str, float | None]:
    with ColonyPool(base_url, **options) as pool:
        try:
            jwt = pool.agent(key).token(max_wait=max_wait)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough: closing takes a moment
            raise Failed(INTERRUPTED, "interrupted") from None
        return jwt, pool.status().tokens.earliest_expiry


def _key(path: Path | None) -> str:
    """Return the API key without white space around it. Messages never show it."""
    if path is None:
        key = os.environ.get("COLONY_API_KEY", "").strip()
        if not key:
            raise Failed(MISUSED, "no API key", hint="Set COLONY_API_KEY, or name a file with --api-key-file")
        return key
    try:
        with path.open(encoding="utf-8") as file:
            key = file.read(_KEY_BYTES).strip()
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise Failed(MISUSED, f"--api-key-file {path}: {reason}") from None
    except UnicodeDecodeError:
        raise Failed(MISUSED, f"--api-key-file {path}: must be a text file") from None
    if not key:
        raise Failed(MISUSED, f"--api-key-file {path}: is empty")
    return key


def _explained(error: ColonyAPIError, key: str, unused: str) -> Failed:
    """What happened, what to do, and when to come back; ``unused`` is what of the environment was not used."""
    message = _without_key(error.message, key)
    hint = shell_names(_without_key(error.hint, key))
    after: float | None = getattr(error, "retry_after", None)
    when = "later" if after is None else f"in {max(1.0, after):.0f} s"
    if isinstance(error, ColonyTwoFactorRequiredError):
        message = "denied: this account has 2FA, and the command line has no code for it"
        return Failed(DENIED, message, hint="In Python, pass totp=...", status=error.status)
    if isinstance(error, _REFUSALS):
        return Failed(DENIED, f"denied: {message}", hint=hint, status=error.status)
    if isinstance(error, ColonyRateLimitError):
        hint = f"Come back {when}, not sooner: trying prolongs it; the API key is fine"
        return Failed(THROTTLED, f"throttled: {message}", hint=hint, status=error.status, retry_after=after)
    if isinstance(error, CircuitOpenError):
        hint = f"{hint}. Come back {when}"
        return Failed(UNAVAILABLE, f"unavailable: {message}", hint=hint, status=error.status, retry_after=after)
    after = after or _SOON
    hint = ". ".join(filter(None, (unused, hint, f"Come back in {after:.0f} s")))
    return Failed(UNAVAILABLE, f"unavailable: {message}", hint=hint, status=error.status or None, retry_after=after)


def _without_key(text: str, key: str) -> str:
    """Hide the key, which a server may quote."""
    return text.replace(key, "col_...")

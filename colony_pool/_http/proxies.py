"""The HTTP proxy that requests go through: who it is, what its answers mean, and where the environment names one."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import Final, Literal
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import getproxies, proxy_bypass

from .failures import EXHAUSTED, NetworkFailure, unwrapped
from .url import DEFAULT_PORTS, is_loopback

ENVIRONMENT: Final = "environment"
REFUSED = 407  # a proxy alone says this

_NO_URL = "must be the URL of an HTTP proxy, such as http://proxy.example:3128"
_SOCKS = "must be the URL of an HTTP proxy; SOCKS is another protocol, and is not spoken here"
_HOST = re.compile(r"[0-9a-z_-]+(\.[0-9a-z_-]+)*\.?")
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})\b")  # http.client's words
_NOT_AT_FAULT = "no key or token is at fault"
_CREDENTIALS = (
    "Put the proxy's user and password into its URL (http://user:password@host:port), or correct them; "
    f"{_NOT_AT_FAULT}"
)
_ITS_WORD = (
    "The proxy says so, not the API: ask who runs it, or reach the API without it (NO_PROXY, or proxy=None); "
    f"{_NOT_AT_FAULT}"
)
_ADDRESS = f"Check the proxy's address (proxy=, or HTTPS_PROXY in the environment) and the network; {_NOT_AT_FAULT}"
_PLAIN = f"The proxy speaks no TLS, it seems: then its URL begins with http://; {_NOT_AT_FAULT}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    Arguments:
        url: scheme, host and port; no user and no password, so that it can be shown.
        is_loopback: whether it is on this host.
        authorization: the header ``Proxy-Authorization``, if its URL has a user or a password.
    """

    url: str
    is_loopback: bool
    authorization: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What it alone is sent."""
        return {} if self.authorization is None else {"Proxy-Authorization": self.authorization}

    @property
    def is_secure(self) -> bool:
        """Whether it is spoken to in TLS."""
        return self.url.startswith("https:")

    def refusal(self, status: int, origin: str, *, sent: bool = False) -> NetworkFailure:
        """The proxy has answered in the place of ``origin``."""
        words = f"the proxy {self.url} refuses to connect to {origin} ({_status(status)})"
        hint = _CREDENTIALS if status in (401, REFUSED) else _ITS_WORD  # tinyproxy says 401 to a wrong password
        return NetworkFailure("proxy", words, sent=sent, hint=hint)

    def unreached(self, kind: str, detail: str, hint: str) -> NetworkFailure:
        """There is no connection to the proxy itself; ``hint`` is what to do about its certificate."""
        if kind == EXHAUSTED:  # it is here that something is missing
            return NetworkFailure(kind, detail, sent=False)
        if kind == "tls":
            hint = hint or (_PLAIN if "version number" in detail or "packet length" in detail else "")
            return NetworkFailure("proxy", f"no TLS with the proxy {self.url}: {detail}", sent=False, hint=hint)
        if kind == "timeout":
            return NetworkFailure(kind, f"no connection to the proxy {self.url} in time", sent=False, hint=_ADDRESS)
        return NetworkFailure("proxy", f"no connection to the proxy {self.url}: {detail}", sent=False, hint=_ADDRESS)

    def through(self, detail: str) -> str:
        """``detail`` of a connection that the proxy has let through, or was asked for."""
        return f"{detail} (through the proxy {self.url})"


def tunnel_status(error: BaseException) -> int | None:
    """The status by which a proxy has refused a tunnel, if ``error``, http.client's, tells of that."""
    cause = unwrapped(error)
    found = _TUNNEL.match(str(cause)) if isinstance(cause, OSError) else None
    return int(found[1]) if found else None


def _status(status: int) -> str:
    """A status in words. A proxy's own might quote what it was sent."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


# -- which one ---------------------------------------------------------------------------------------------


def proxy_option(proxy: str | None) -> Proxy | Literal["environment"] | None:
    """The value of the option ``proxy``. Raises ``ValueError``, which does not show it: it may hold a password."""
    if proxy == ENVIRONMENT:
        return ENVIRONMENT
    if proxy is None or proxy == "":
        return None
    found = _read(proxy)
    if isinstance(found, str):
        del proxy
        raise ValueError(f"proxy: {found}")
    return found


def settled(
    given: Proxy | Literal["environment"] | None, base_url: str, *, allow_insecure: bool
) -> tuple[Proxy | None, str]:
    """The proxy for ``base_url``, and what is to be said if what the environment names cannot be used.

    Raises ``ValueError`` if an API key would travel in clear to a proxy on another host.
    """
    if given == ENVIRONMENT:
        return from_environment(base_url)
    host = urlsplit(base_url).hostname or ""
    if given is not None and is_loopback(host) and not (given.is_loopback or allow_insecure):
        raise ValueError(
            f"proxy={given.url!r}: is on another host, and base_url={host!r} on this one: an API key would travel to "
            "the proxy in clear; use proxy=None, or allow_insecure=True"
        )
    return given, ""


def from_environment(base_url: str) -> tuple[Proxy | None, str]:
    """The proxy that the environment names for ``base_url``, read as urllib does, and ``ALL_PROXY`` as curl does.

    There is none for this host itself. Also returns what is to be said if what the environment names cannot be used.
    """
    url = urlsplit(base_url)
    if is_loopback(url.hostname or ""):
        return None, ""
    known = getproxies()
    name = url.scheme if known.get(url.scheme) else "all"
    value = known.get(name, "").strip()
    if not value or proxy_bypass(url.netloc):
        return None, ""
    found = _read(value if "://" in value else f"http://{value.lstrip('/')}")
    if isinstance(found, str):
        return None, f"{name.upper()}_PROXY in the environment {found}: requests go without a proxy"
    return found, ""


def _read(value: object) -> Proxy | str:
    """The proxy at this URL, or what is wrong with it: an exception would carry the URL along."""
    text = value.strip() if isinstance(value, str) else ""
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in text):
        return _NO_URL
    try:
        parts = urlsplit(text)
        scheme, port = parts.scheme, parts.port
        host = _host(parts.hostname or "")
    except ValueError:  # a port beyond 65535, a host that cannot be
        return _NO_URL
    # An "@" behind the host belongs to a password with a "/", "?" or "#" in it: what looks like the host is none.
    cut_short = "@" in f"{parts.path}{parts.query}{parts.fragment}"
    if scheme not in DEFAULT_PORTS or not host or port == 0 or cut_short:
        return _SOCKS if scheme.startswith("socks") else _NO_URL
    credentials = _decoded(parts.username) + b":" + _decoded(parts.password)
    authorization = f"Basic {b64encode(credentials).decode()}" if credentials != b":" else None
    return Proxy(f"{scheme}://{host}:{port or DEFAULT_PORTS[scheme]}", is_loopback(host.strip("[]")), authorization)


def _host(name: str) -> str:
    """``name`` as it stands in a URL. Raises ``ValueError`` if that is no host."""
    if ":" in name:
        return f"[{IPv6Address(name)}]"
    ascii_name = name.encode("idna").decode()
    return ascii_name if _HOST.fullmatch(ascii_name) else ""


def _decoded(part: str | None) -> bytes:
    return unquote_to_bytes((part or "").encode("utf-8", "surrogateescape"))

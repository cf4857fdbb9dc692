"""Which address an API key may be sent to (G22)."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, unquote, urlsplit

from ..config import DEFAULT_BASE_URL

DEFAULT_PORTS = {"http": 80, "https": 443}
_NOT_OF_AN_URL = re.compile(r"[^!-~]")
# Control characters, and UTF-8 that is longer than it may be: a dot can be written so.
_NOT_OF_A_NAME = re.compile("[\x00-\x1f\x7f\udcc0\udcc1]|[\udce0\udcf0]\udc80")
_SLASH = re.compile(r"[/\\]")
_DECODED_AT_MOST = 5  # times


def check_base_url(base_url: str, *, allow_insecure: bool) -> str:
    """Return ``base_url`` without a trailing slash, or raise ``ValueError`` that says what is wrong with it."""
    if not isinstance(base_url, str) or any(ord(c) <= 32 or ord(c) == 127 for c in base_url):
        raise ValueError("base_url: must be a URL without spaces or control characters")
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # an IPv6 address that is none, a port beyond 65535
        raise ValueError("base_url: must be a URL; its host or port cannot be read") from None
    if not parts.scheme or not host:
        raise ValueError(f"base_url: must be a URL with scheme and host, such as {DEFAULT_BASE_URL}")
    shown = f"{parts.scheme}://{host}"
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"base_url={shown!r}: must be an https:// URL with a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"base_url={shown!r}: must have no user, password, query or fragment")
    if parts.scheme == "http" and not is_loopback(host) and not allow_insecure:
        raise ValueError(
            f"base_url={shown!r}: an API key would travel in clear; use https://, or allow_insecure=True"
        )
    return base_url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this host itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def belongs(base_url: str, url: str) -> bool:
    """Whether ``url`` is one of the API at ``base_url``: same scheme, host and port, and below its path.

    Below it however a server reads the path: percent-encoded once or more, with ``\\`` for ``/``, with dots to be
    removed, with ``//`` for ``/`` or not. In doubt it is not. ``url`` is as a client sends it: in ASCII.
    """
    if _NOT_OF_AN_URL.search(url):
        return False
    try:
        base, other = urlsplit(base_url), urlsplit(url)
        same = _origin(base) == _origin(other)
    except ValueError:  # a port beyond 65535, a host that is none
        return False
    above, names = base.path.rstrip("/").split("/"), other.path.split("/")
    first, rest = names[: len(above)], names[len(above) :]
    return same and "@" not in other.netloc and [*map(_decoded, first)] == [*map(_decoded, above)] and _stays(rest)


def _origin(parts: SplitResult) -> tuple[str, bytes, int | None]:
    port = DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, (parts.hostname or "").encode("idna"), port


def _decoded(name: str) -> str:
    """``name`` of a path, percent-decoded until there is nothing left to decode; else a name that may not be."""
    for _ in range(_DECODED_AT_MOST):
        name, before = unquote(name, errors="surrogateescape"), name
        if name == before:
            return name
    return "\0"


def _stays(names: list[str]) -> bool:
    """Whether a path of ``names`` never leads above where it begins."""
    depth = 0
    for name in names:
        decoded = _decoded(name)
        if _NOT_OF_A_NAME.search(decoded):
            return False
        parts = [part.partition(";")[0].strip() for part in _SLASH.split(decoded)]  # some servers drop ";x"
        up = parts.count("..")
        depth -= up
        if depth < 0:
            return False
        # Some servers take an encoded slash for a slash, others for a letter: at least one name.
        depth += not up and any(part not in ("", ".") for part in parts)
    return True

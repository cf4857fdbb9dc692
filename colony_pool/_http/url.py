"""Which address an API key may be sent to (G22)."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ..config import DEFAULT_BASE_URL

DEFAULT_PORTS = {"http": 80, "https": 443}


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
    """Whether ``url`` is one of the API at ``base_url``: same scheme, host and port, and below its path."""
    base, other = urlsplit(base_url), urlsplit(url)
    same = (base.scheme, base.hostname, base.port or DEFAULT_PORTS.get(base.scheme)) == (
        other.scheme, other.hostname, other.port or DEFAULT_PORTS.get(other.scheme),
    )  # fmt: skip
    return same and not other.username and f"{other.path}/".startswith(f"{base.path.rstrip('/')}/")

"""Which address an API key may be sent to (G22)."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ..config import DEFAULT_BASE_URL


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
    if parts.scheme == "http" and not _is_loopback(host) and not allow_insecure:
        raise ValueError(
            f"base_url={shown!r}: an API key would travel in clear; use https://, or allow_insecure=True"
        )
    return base_url.rstrip("/")


def check_proxy(proxy: str | None) -> str | None:
    """Return ``proxy``, or raise ``ValueError``, which does not show it: it may hold a password."""
    if not proxy:
        return None
    try:
        parts = urlsplit(proxy)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
        good = isinstance(proxy, str) and scheme in ("http", "https") and bool(host) and port != 0
    except (ValueError, AttributeError):  # a port beyond 65535; what is no text at all
        good = False
    if not good:
        del proxy
        raise ValueError("proxy: must be the URL of an HTTP proxy, such as http://proxy.example:3128")
    return proxy


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def belongs(base_url: str, url: str) -> bool:
    """Whether ``url`` is one of the API at ``base_url``: same scheme, host and port, and below its path."""
    base, other = urlsplit(base_url), urlsplit(url)
    ports = {"http": 80, "https": 443}
    same = (base.scheme, base.hostname, base.port or ports.get(base.scheme)) == (
        other.scheme, other.hostname, other.port or ports.get(other.scheme),
    )  # fmt: skip
    return same and not other.username and f"{other.path}/".startswith(f"{base.path.rstrip('/')}/")

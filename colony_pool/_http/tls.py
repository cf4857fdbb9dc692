"""What TLS trusts, and the certificate that it shows: files that are read again when they have changed."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .failures import unwrapped
from .proxies import Proxy

ClientCert = str | tuple[str, str] | tuple[str, str, str]  # as the option has it
Complain = Callable[[str], object]  # what is wrong with a file

_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# OpenSSL's X509_V_ERR_...: no issuer; what signs itself, alone or at the end of the chain; nobody to verify it.
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_UNTRUSTED = (
    "The certificate is of an authority that is not trusted here, a private one or that of a proxy that reads along: "
    f"set ca_certs= to a file that has it, or one of {', '.join(_VARIABLES)} in the environment; no key or token is "
    "at fault"
)
_NO_CERTIFICATE = "The server asks for a certificate of this side: set client_cert=; no key or token is at fault"
_State = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What this side shows: a certificate and its key, in files."""

    certificate: str
    key: str | None = None  # in the same file
    password: str | None = field(default=None, repr=False)

    def load(self, context: ssl.SSLContext) -> str:
        """Have ``context`` show it; return what is wrong: an exception would carry the password along."""
        asked: list[bool] = []

        def answer() -> str:  # else OpenSSL would ask at the terminal
            asked.append(True)
            return self.password or ""

        try:
            context.load_cert_chain(self.certificate, self.key, answer)
        except (OSError, ValueError) as error:
            if asked:
                return "the password of its key is wrong" if self.password else "its key has a password"
            return _reason(error)
        return ""


class TlsContext:
    """The TLS context of new connections; made anew when a file that it was made from has changed."""

    def __init__(
        self, ca_certs: str | os.PathLike[str] | None, client: ClientCertificate | None, complain: Complain
    ) -> None:
        self._ca_name, self._ca_path = _authorities(ca_certs)
        self._client = client
        mine = (client.certificate, client.key) if client is not None else ()
        paths = (self._ca_path or ssl.get_default_verify_paths().cafile, *mine)
        self._watched = tuple(path for path in paths if path is not None)
        self._complain = complain
        self._class: type | None = None
        self._state: _State = ()
        self._context = self._make()

    def is_stale(self) -> bool:
        """Whether ``current`` would read files. Cheap."""
        return self._class is not ssl.SSLContext or self._state != self._look()

    def current(self) -> ssl.SSLContext:
        """The context for a connection that is to be opened now."""
        if self.is_stale():
            try:
                self._context = self._make()
            except ValueError as error:  # the state is known by now: that is said once
                self._complain(f"{error}; what was read before is used")
        return self._context

    def _make(self) -> ssl.SSLContext:
        """Read the files. Made here and not by urllib3, which may have been imported before gevent patched."""
        # First: whoever opens a connection meanwhile goes on with what there is.
        self._class, self._state = ssl.SSLContext, self._look()
        context = self._trusting()
        if self._client is not None and (problem := self._client.load(context)):
            raise ValueError(f"client_cert={self._client.certificate!r}: cannot be used ({problem})")
        return context

    def _trusting(self) -> ssl.SSLContext:
        path, name = self._ca_path, self._ca_name
        try:
            if path is None:
                return ssl.create_default_context()
            if os.path.isdir(path):
                return ssl.create_default_context(capath=path)
            folder = None if name == "ca_certs" else _folder(name)
            return ssl.create_default_context(cafile=path, capath=folder)
        except OSError as error:
            raise ValueError(f"{name}={path!r}: no certificates can be read there ({_reason(error)})") from None

    def _look(self) -> _State:
        """What is known of the files without reading them."""
        return tuple(_state(path) for path in self._watched)


class TlsContexts:
    """Those that a pool needs: for the API, and for a proxy that is spoken to in TLS.

    The client's certificate is for the API alone.
    """

    def __init__(
        self,
        base_url: str,
        proxy: Proxy | None,
        ca_certs: str | os.PathLike[str] | None,
        client: ClientCertificate | None,
        complain: Complain,
    ) -> None:
        secure = urlsplit(base_url).scheme == "https"
        self._origin = TlsContext(ca_certs, client, complain) if secure else None
        self._proxy = TlsContext(ca_certs, None, complain) if proxy is not None and proxy.is_secure else None

    def is_stale(self) -> bool:
        """Whether ``current`` would read files."""
        return any(one is not None and one.is_stale() for one in (self._origin, self._proxy))

    def current(self) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
        """``(for the API, for the proxy)``; ``None`` where there is no TLS."""
        return (
            self._origin.current() if self._origin is not None else None,
            self._proxy.current() if self._proxy is not None else None,
        )

    def give(self, conn: Any) -> None:
        """Give them to urllib3's ``conn``, which is about to be opened."""
        origin, proxy = self.current()
        if origin is not None:
            conn.ssl_context = origin
        if proxy is not None:
            conn.proxy_config = type(conn.proxy_config)(proxy, *conn.proxy_config[1:])  # a named tuple


def advice(error: BaseException) -> str:
    """What to do about a failed handshake, if there is more to say than to check the network."""
    cause = unwrapped(error)
    if not isinstance(cause, ssl.SSLError):
        return ""
    if getattr(cause, "verify_code", 0) in _UNKNOWN_AUTHORITY:
        return _UNTRUSTED
    return _NO_CERTIFICATE if "CERTIFICATE_REQUIRED" in (cause.reason or "") else ""


def _authorities(ca_certs: object) -> tuple[str, str | None]:
    """``(who names it, the file or folder)`` of what is trusted; ``None`` is what the system trusts."""
    if ca_certs is not None and ca_certs != "":
        return "ca_certs", _path("ca_certs", ca_certs)
    for name in _VARIABLES:
        if path := os.environ.get(name):
            return name, path
    return "", None


def client_certificate(client_cert: ClientCert | None) -> ClientCertificate | None:
    """The certificate of the option ``client_cert``; the files are not read yet. ``ValueError`` shows no password."""
    if client_cert is None or client_cert == "":
        return None
    parts = client_cert if isinstance(client_cert, (tuple, list)) else (client_cert,)
    if 1 <= len(parts) <= 3 and all(isinstance(part, (str, os.PathLike)) for part in parts):
        paths = [os.fspath(part) for part in parts[:2]]
        if all(isinstance(path, str) and path and "\0" not in path for path in paths):
            return ClientCertificate(*paths, *parts[2:])
    del client_cert, parts
    raise ValueError("client_cert: must be a file, or (certificate, key), or (certificate, key, password)")


def _path(name: str, value: object) -> str:
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if isinstance(path, str) and "\0" not in path:
        return path
    raise ValueError(f"{name}={value!r}: must be the path of a file or a folder")


def _folder(name: str) -> str | None:
    """The folder that OpenSSL looks into beside a file that the environment names."""
    paths = ssl.get_default_verify_paths()
    return os.environ.get(paths.openssl_capath_env) or (paths.openssl_capath if name == _VARIABLES[0] else None)


def _state(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def _reason(error: Exception) -> str:
    """What is wrong with a file, in words."""
    if isinstance(error, ssl.SSLError):
        words = (error.reason or "it is none").lower().replace("_", " ")
        return "none is in it" if words == "no certificate or crl found" else words
    return (getattr(error, "strerror", None) or "it cannot be read").lower()

"""What of an API key and its token may be seen by a store: a hash that names the key, and ciphertext.

The hash is keyed by the API key itself. Who reads the store learns that there are so many keys; he cannot get a key
from its name, nor find out whether a name belongs to an account that he knows, for what he would need is the key. Two
processes with the same key make the same name, and nobody else does. It depends on the API, too, so two stores cannot
be compared.

A token is sealed with AES-256-GCM under a key drawn from the API key by HKDF (RFC 5869): who has the API key can read
it, and could as well get a token of his own; who has the store can neither read nor alter it, nor give one account's
for another's. He can give back an older one, which the API refuses once it is void.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from typing import Any

_NONCE = 12
_MISSING = "share_tokens=True needs cryptography; pip install 'colony-pool[redis]'"


def key_name(api_key: str, base_url: str) -> str:
    """Name ``api_key`` for a store of ``base_url``: 32 hexadecimal digits."""
    return _derived(api_key, b"name", base_url).hex()[:32]


class Sealer:
    """Seals and opens the tokens of one API key. ``cryptography`` must be installed: see ``check_sealing``."""

    __slots__ = ("_aead", "_scope")

    def __init__(self, api_key: str, base_url: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        self._scope = _scope(b"token", base_url)
        kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=self._scope)
        self._aead = AESGCM(kdf.derive(api_key.encode()))

    def __repr__(self) -> str:
        return "<Sealer>"

    def __reduce__(self) -> Any:
        raise TypeError("a Sealer holds a key and does not pickle")

    def seal(self, token: str) -> str:
        """Encrypt: printable text, a different one each time."""
        nonce = os.urandom(_NONCE)
        return base64.b64encode(nonce + self._aead.encrypt(nonce, token.encode(), self._scope)).decode()

    def unseal(self, sealed: str) -> str | None:
        """Decrypt; ``None`` for what was not sealed with this API key, or was altered since."""
        from cryptography.exceptions import InvalidTag

        try:
            raw = base64.b64decode(sealed, validate=True)
            return self._aead.decrypt(raw[:_NONCE], raw[_NONCE:], self._scope).decode()
        except (InvalidTag, binascii.Error, ValueError):
            return None


def check_sealing() -> None:
    """Raise ``ImportError`` with advice where tokens cannot be sealed, before any key is at hand."""
    try:
        import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401 - whether it is there
    except ImportError as exc:
        raise ImportError(_MISSING) from exc


def _scope(purpose: bytes, base_url: str) -> bytes:
    return b"colony_pool 1 " + purpose + b" " + base_url.rstrip("/").encode()


def _derived(api_key: str, purpose: bytes, base_url: str) -> bytes:
    return hmac.new(api_key.encode(), _scope(purpose, base_url), hashlib.sha256).digest()

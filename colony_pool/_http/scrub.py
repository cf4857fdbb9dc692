"""Headers of an answer, before an error shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

_SHOWN = ("location", "content-type")  # what an error tells of an answer's headers
_ENCODED = 3  # times that an echo may have been percent-encoded


def without_secrets(headers: Mapping[str, str], *secrets: str | None) -> Mapping[str, str]:
    """``headers`` without ``secrets`` in those that errors show: a server may echo them, percent-encoded, too."""
    changed = {}
    for name in _SHOWN:
        value = plain = headers.get(name, "")
        for _ in range(_ENCODED):
            plain = unquote(plain)
        for secret in secrets:
            if secret and secret.lower() in plain.lower():
                value = plain = re.sub(re.escape(secret), "***", plain, flags=re.IGNORECASE)
        if value != headers.get(name, ""):
            changed[name] = value
    return {**headers, **changed} if changed else headers

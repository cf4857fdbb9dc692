"""Bodies that come compressed though nobody has asked for that, as gateways and caches do at times."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from time import monotonic

from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from .failures import BadReply, RawResponse

_PIECE = 65_536  # bytes that are decoded at once
# Content codings of IANA's registry. Any other word there, such as utf-8, is a slip, and the body is as it should be.
_CODINGS = frozenset(
    {"aes128gcm", "br", "compress", "dcb", "dcz", "deflate", "exi", "gzip", "pack200-gzip", "x-compress", "x-gzip",
     "zstd"}
)  # fmt: skip
# urllib3 may know others as well, but some of them, Brotli before 1.2 for one, it decodes without a bound.
_DECODED = frozenset({"deflate", "gzip", "x-gzip"})


class _Body(io.BytesIO):
    """A body that is read until a deadline: a compressed one may take far longer to decode than to send."""

    def __init__(self, body: bytes, deadline: float) -> None:
        super().__init__(body)
        self._deadline = deadline

    def read1(self, size: int | None = -1, /) -> bytes:
        if monotonic() >= self._deadline:
            raise TimeoutError("no time left")
        return super().read1(size)


def is_coded(headers: Mapping[str, str]) -> bool:
    """Whether the body may have to be decoded. ``headers`` have lower-case names."""
    return "content-encoding" in headers


def decoded(answer: RawResponse, max_body: int, deadline: float) -> RawResponse:
    """``answer`` with its body decoded by urllib3, at most ``max_body`` bytes of it, and headers that fit that.

    Raises:
        BadReply: it is longer, is not what it says, or has another coding than gzip and deflate.
        TimeoutError: ``deadline`` (monotonic seconds) is over.
    """
    said = answer.headers.get("content-encoding", "").lower().split(",")
    codings = [word.strip() for word in said if word.strip() in _CODINGS]
    if not codings or not answer.body:  # the answer to HEAD has none
        return answer
    named = ", ".join(codings)
    if not _DECODED.issuperset(codings):
        raise BadReply(
            answer.status, f"the body is compressed ({named}), which nobody asked for and we cannot decode"
        )
    packed = HTTPResponse(
        _Body(answer.body, deadline), headers={"Content-Encoding": named}, preload_content=False, decode_content=True
    )
    body = bytearray()
    try:
        while piece := packed.read1(_PIECE):
            body += piece
            if len(body) > max_body:
                raise BadReply(answer.status, f"the body is over {max_body} bytes")
    except HTTPError:
        raise BadReply(answer.status, f"the body cannot be decoded ({named})") from None
    headers = {name: value for name, value in answer.headers.items() if name != "content-encoding"}
    return replace(answer, headers={**headers, "content-length": str(len(body))}, body=bytes(body))

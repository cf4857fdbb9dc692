"""What comes behind an answer, on its connection: httpcore would take it for the answer to the next request.

A socket that has something to read when nobody has asked is found by httpcore itself, as it takes an idle connection.
What has been read along with the end of the answer is not. It waits in one of three places: in h11's buffer; in that
of TLS, decrypted; or, as it came, in anyio's, which takes four times as much from a socket as httpcore takes from it.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


def nothing_behind(response: httpx.Response) -> bool:
    """Whether the connection of ``response``, whose body has been read, is fit for another request.

    Two of the buffers are in no public verb. Should they move, the answer is no: then no connection is kept.
    """
    stream: Any = response.stream
    network = response.extensions["network_stream"]
    try:
        surplus, _ = stream._httpcore_stream._stream._connection._h11_state.trailing_data
        unread = _plain(network._stream)._protocol.read_queue
    except AttributeError:
        return False
    tls = network.get_extra_info("ssl_object")
    return not surplus and not unread and (tls is None or _is_dry(tls))


def _plain(stream: Any) -> Any:
    """The TCP stream beneath ``stream``: TLS, perhaps to a proxy and again to what is behind it, or itself."""
    while hasattr(stream, "transport_stream"):
        stream = stream.transport_stream
    return stream


def _is_dry(tls: ssl.SSLObject) -> bool:
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return True
    except ssl.SSLError:  # the other side has closed it
        return False
    return False

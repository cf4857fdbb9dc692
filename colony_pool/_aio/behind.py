"""What comes behind an answer, on its connection: httpcore would take it for the answer to the next request.

A socket that has something to read when nobody has asked is found by httpcore itself, as it takes an idle connection.
What has been read along with the end of the answer is not: it waits in h11's buffer, or decrypted in that of TLS.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


def nothing_behind(response: httpx.Response) -> bool:
    """Whether the connection of ``response``, whose body has been read, is fit for another request.

    h11's buffer is in none of httpcore's public verbs. Should it move, the answer is no: then no connection is kept.
    """
    stream: Any = response.stream
    try:
        surplus, _ = stream._httpcore_stream._stream._connection._h11_state.trailing_data
    except AttributeError:
        return False
    tls = response.extensions["network_stream"].get_extra_info("ssl_object")
    return not surplus and (tls is None or _is_dry(tls))


def _is_dry(tls: ssl.SSLObject) -> bool:
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return True
    except ssl.SSLError:  # the other side has closed it
        return False
    return False

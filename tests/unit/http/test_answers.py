"""An answer is taken strictly, and a connection that is out of step is used by nobody (G22)."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from colony_pool import Timeout
from colony_pool.testing import FakeColony
from tests.support.private import HttpTransport, NetworkFailure, RawResponse, ThreadRuntime

GOOD = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.fixture
def transport(colony: FakeColony) -> Iterator[HttpTransport]:
    runtime = ThreadRuntime()
    it = HttpTransport(colony.base_url, runtime=runtime, maxsize=2, timeout=Timeout())
    yield it
    it.close()
    runtime.close(1.0)


def _ask(transport: HttpTransport) -> RawResponse:
    return transport.send("GET", "/x", headers={}, body=None)


@pytest.mark.parametrize("answer", [GOOD, CHUNKED])
@pytest.mark.parametrize("behind", ["x", GOOD])
def test_g22_a_connection_on_which_more_came_than_was_announced_is_not_used_again(
    colony: FakeColony, transport: HttpTransport, answer: str, behind: str
) -> None:
    """Though what is behind has been read already, and may be only the beginning of something."""
    colony.behave("raw", data=answer, then="keep")
    assert _ask(transport).body == b"{}"
    assert transport.connections() == (0, 1), "it is kept when nothing is behind"
    colony.behave("raw", data=answer + behind, then="keep")
    assert _ask(transport).body == b"{}"
    assert transport.connections() == (0, 0)


def test_g22_an_answer_that_ends_with_its_connection_is_whole(colony: FakeColony, transport: HttpTransport) -> None:
    colony.behave("raw", data="HTTP/1.1 200 OK\r\n\r\n{}", then="close")
    assert _ask(transport).body == b"{}"
    assert transport.connections() == (0, 0)


def test_g23_what_is_no_header_is_shown_to_no_log(
    colony: FakeColony, transport: HttpTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """urllib3 goes on, and logs the line: it may be an echo of a key."""
    caplog.set_level(logging.DEBUG)
    colony.behave("raw", data=GOOD.replace("\r\n\r\n", "\r\ncol_echo_of_a_key\r\n\r\n"), then="keep")
    with pytest.raises(NetworkFailure, match="not HTTP"):
        _ask(transport)
    assert "col_echo" not in caplog.text

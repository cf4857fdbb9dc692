"""The soak, for as long as a test may take; ``python -m tests.tools.soak --minutes 10`` is the long one."""

from __future__ import annotations

import contextlib
import io

from tests.tools import soak

from . import World, scenario


@scenario("threads", "gevent", "asyncio")
def nothing_grows_in_rounds_of_everything_that_goes_wrong(w: World) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as seen:
        grown = soak.run(w, rounds=4, minutes=0.0)
    assert grown == [], seen.getvalue()

"""API calls over a transport of the user's own, which blocks: each is sent by a task of the pool's runtime."""

from __future__ import annotations

import asyncio

from .._core.failure import closed
from .._engine import EngineHolder
from .._http.api import ApiRequest, Sent, is_refused
from .._http.failures import RawResponse
from ..agent import replays_of, state_of
from .agent import AsyncAgent, agent_behind, run_off_loop
from .loop_event import LoopEvent, WaitingTasks

__all__ = ["TransportSender"]


class TransportSender:
    """Makes API calls as ``LoopClient`` does, without httpx."""

    def __init__(self, engines: EngineHolder, waiting: WaitingTasks) -> None:
        self._engines = engines
        self._waiting = waiting

    async def send(self, call: ApiRequest, agent: AsyncAgent) -> Sent:
        """Send ``call`` with a token of ``agent``, once, or again as long as a 401 asks for that."""
        replays = replays_of(agent_behind(agent))
        try:
            while True:
                jwt = await agent.token(max_wait=call.max_wait)
                reply = await self._send_once(call, agent, jwt)
                pause = await run_off_loop(agent, replays.pause, jwt) if is_refused(call, reply) else None
                if pause is None:
                    break
                if pause and await self._waiting.pause(pause):
                    raise closed().exception()
            if isinstance(reply, RawResponse) and reply.status < 300:
                replays.worked(jwt)
            return reply
        finally:
            jwt = ""  # no traceback of ours holds a token

    async def _send_once(self, call: ApiRequest, agent: AsyncAgent, jwt: str) -> Sent:
        """Send ``call``. The end of the pool ends the wait for it, and not what the transport does."""
        last = state_of(agent_behind(agent)).last_failure
        sending = asyncio.ensure_future(run_off_loop(agent, self._engines.current.api.send, call, jwt, last))
        ended = LoopEvent()
        sending.add_done_callback(lambda _: ended.set())
        try:
            await self._waiting.wait(ended)
            if not sending.done():
                raise closed().exception()
            return sending.result()
        finally:
            sending.cancel()
            del jwt  # no traceback of ours holds a token

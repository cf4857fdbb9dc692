"""``_importlib_bootstrap`` for the SDK's asynchronous client; why it is called so is said there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import colony_sdk
from colony_sdk.async_client import AsyncColonyClient as Theirs

from ._call import CallState

__all__ = ["AsyncRenewingClient", "Theirs"]


class AsyncRenewingClient(Theirs):
    """The SDK's asynchronous client; a call whose token was refused is made again, as ``_helps`` says.

    What raises ``NotImplementedError`` is the subclass'.
    """

    def _one_call(self, *, transfer: bool) -> AbstractContextManager[CallState]:
        """For the time of one call. ``transfer``: one that takes whatever token the client has."""
        raise NotImplementedError

    async def _begin(self, call: CallState) -> None:
        """``call`` is about to be made."""
        raise NotImplementedError

    async def _helps(self, call: CallState, error: colony_sdk.ColonyAuthError) -> bool:
        """Whether ``call`` is made again after ``error``. May wait."""
        raise NotImplementedError

    def _worked(self, call: CallState) -> None:
        """``call`` has had an answer."""
        raise NotImplementedError

    def _is_replaced(self) -> bool:
        """Whether the SDK is to do everything itself."""
        raise NotImplementedError

    def _rotated(self, old: str) -> None:
        """``old`` was this client's key."""
        raise NotImplementedError

    async def _raw_request(self, *args: Any, **kwargs: Any) -> Any:
        send = super()._raw_request
        if "_token_refreshed" in kwargs or kwargs.get("auth") is False:  # made again by the SDK; without a token
            return await send(*args, **kwargs)
        return await self._renewed(send, args, kwargs, {**kwargs, "_token_refreshed": True}, transfer=False)

    async def _raw_multipart_upload(self, *args: Any, **kwargs: Any) -> Any:
        return await self._renewed(super()._raw_multipart_upload, args, kwargs, kwargs, transfer=True)

    async def _raw_request_bytes(self, *args: Any, **kwargs: Any) -> Any:
        return await self._renewed(super()._raw_request_bytes, args, kwargs, kwargs, transfer=True)

    async def rotate_key(self) -> dict[str, Any]:
        """As the SDK's; then all clients of the old key in this process have the new one."""
        old = self.api_key
        try:
            answer = await super().rotate_key()
            self._rotated(old)
            return answer
        finally:
            del old  # no traceback of ours holds a key

    async def _renewed(
        self,
        send: Callable[..., Awaitable[Any]],
        args: Any,
        kwargs: Mapping[str, Any],
        ours: Mapping[str, Any],
        *,
        transfer: bool,
    ) -> Any:
        """``send(*args, **kwargs)`` if the SDK does all by itself, else ``send(*args, **ours)`` until it is good."""
        if self._is_replaced():
            return await send(*args, **kwargs)
        with self._one_call(transfer=transfer) as call:
            while True:
                await self._begin(call)
                try:
                    answer = await send(*args, **ours)
                except colony_sdk.ColonyAuthError as error:
                    if not await self._helps(call, error):
                        raise
                else:
                    self._worked(call)
                    return answer

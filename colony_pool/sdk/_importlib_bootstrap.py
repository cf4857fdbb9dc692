"""What stands between a method of the SDK's client and the SDK's own way to make a request.

The name of this file matters. The SDK warns of deprecated parameters at the line of its caller, and finds that by
counting frames (``stacklevel``). Python leaves out of that count the frames of a file that has both "importlib" and
"_bootstrap" in its name. So each frame that is ours, and that the SDK does not count, is in here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import colony_sdk

from ._call import CallState

__all__ = ["RenewingClient"]


class RenewingClient(colony_sdk.ColonyClient):
    """The SDK's client; a call whose token was refused is made again, as ``_helps`` says.

    What raises ``NotImplementedError`` is the subclass'.
    """

    def _one_call(self, *, transfer: bool) -> AbstractContextManager[CallState]:
        """For the time of one call. ``transfer``: one that takes whatever token the client has."""
        raise NotImplementedError

    def _begin(self, call: CallState) -> None:
        """``call`` is about to be made."""
        raise NotImplementedError

    def _helps(self, call: CallState, error: colony_sdk.ColonyAuthError) -> bool:
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

    def _raw_request(self, *args: Any, **kwargs: Any) -> Any:
        send = super()._raw_request
        if "_token_refreshed" in kwargs or kwargs.get("auth") is False:  # made again by the SDK; without a token
            return send(*args, **kwargs)
        return self._renewed(send, args, kwargs, {**kwargs, "_token_refreshed": True}, transfer=False)

    def _raw_multipart_upload(self, *args: Any, **kwargs: Any) -> Any:
        return self._renewed(super()._raw_multipart_upload, args, kwargs, kwargs, transfer=True)

    def _raw_request_bytes(self, *args: Any, **kwargs: Any) -> Any:
        return self._renewed(super()._raw_request_bytes, args, kwargs, kwargs, transfer=True)

    def rotate_key(self) -> dict[str, Any]:
        """As the SDK's; then all clients of the old key in this process have the new one."""
        old = self.api_key
        try:
            answer = super().rotate_key()
            self._rotated(old)
            return answer
        finally:
            del old  # no traceback of ours holds a key

    def _renewed(
        self,
        send: Callable[..., Any],
        args: Any,
        kwargs: Mapping[str, Any],
        ours: Mapping[str, Any],
        *,
        transfer: bool,
    ) -> Any:
        """``send(*args, **kwargs)`` if the SDK does all by itself, else ``send(*args, **ours)`` until it is good."""
        if self._is_replaced():
            return send(*args, **kwargs)
        with self._one_call(transfer=transfer) as call:
            while True:
                self._begin(call)
                try:
                    answer = send(*args, **ours)
                except colony_sdk.ColonyAuthError as error:
                    if not self._helps(call, error):
                        raise
                else:
                    self._worked(call)
                    return answer

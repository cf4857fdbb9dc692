"""Headers of a request of httpx, with a token in them that a redirect does not take along."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any

import httpx

__all__ = ["TokenHeaders"]

_NAME = "Authorization"


class TokenHeaders(httpx.Headers):
    """Headers with a token that stays behind when httpx copies them.

    It copies them for the request that follows a redirect, and drops the token only where that leaves the origin. An
    API may share its origin with others, so where a redirect leads is ours to look at.
    """

    def __init__(self, headers: httpx.Headers, token: str) -> None:
        super().__init__(headers, headers.encoding)
        self._token: str | None = None
        self[_NAME] = f"Bearer {token}"

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """All headers, as they are sent."""
        token = self._token
        return super().raw if token is None else [*super().raw, (_NAME.encode(), token.encode())]

    def __setitem__(self, key: str, value: str) -> None:
        if key.lower() != _NAME.lower():
            super().__setitem__(key, value)
            return
        if super().__contains__(key):
            super().__delitem__(key)
        self._token = value

    def __delitem__(self, key: str) -> None:
        if key.lower() == _NAME.lower() and self._token is not None:
            self._token = None
        else:
            super().__delitem__(key)

    # -- whatever reads them sees all of them ------------------------------------------------------------

    def _all(self) -> httpx.Headers:
        return httpx.Headers(self.raw, self.encoding)

    def keys(self) -> KeysView[str]:
        return self._all().keys()

    def values(self) -> ValuesView[str]:
        return self._all().values()

    def items(self) -> ItemsView[str, str]:
        return self._all().items()

    def multi_items(self) -> list[tuple[str, str]]:
        return self._all().multi_items()

    def get_list(self, key: str, split_commas: bool = False) -> list[str]:
        return self._all().get_list(key, split_commas)

    def __getitem__(self, key: str) -> str:
        return self._all()[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._all()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __eq__(self, other: object) -> bool:
        return self._all() == other

    __hash__ = None  # type: ignore[assignment] # as httpx's

    def __repr__(self) -> str:
        return repr(self._all())

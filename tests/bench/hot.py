"""A cached token, against the floor: ``if monotonic() < exp: return tok`` in a plain function."""

from __future__ import annotations

import datetime
import json
import statistics
import sys
import timeit
from collections.abc import Callable
from time import monotonic

NUMBER, ROUNDS = 100_000, 15


def main(runtime: str) -> None:
    from colony_pool.testing import FakeColony

    with FakeColony() as colony:
        cases = _cases(colony.base_url, runtime)
        times: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(ROUNDS):  # interleaved: the machine's mood hits all alike
            for name, fn in cases.items():
                times[name].append(timeit.timeit(fn, number=NUMBER) / NUMBER * 1e9)
    floor = statistics.median(times["floor"])
    print(f"\nA cached token ({runtime}): median of {ROUNDS} rounds")
    for name, values in times.items():
        ratio = statistics.median(v / f for v, f in zip(values, times["floor"], strict=True))
        print(f"  {name:36}{statistics.median(values):8.0f} ns  {ratio:7.2f} x the floor")
        print("json " + json.dumps({"bench": "hot", "runtime": runtime, "case": name, "ratio": round(ratio, 3)}))
    assert floor > 0


def _cases(base_url: str, runtime: str) -> dict[str, Callable[[], object]]:
    import google.auth.credentials
    from colony_sdk import ColonyClient

    from colony_pool import ColonyPool

    expires, token = monotonic() + 1e6, "x" * 200

    def floor() -> str | None:
        if monotonic() < expires:
            return token
        return None

    pool = ColonyPool(base_url, runtime=runtime, token_cache=None)
    agent = pool.agent("col_hot")
    agent.token()
    sdk = ColonyClient("col_hot", base_url=base_url, cache_token=False)
    sdk.get_auth_token()

    class Google(google.auth.credentials.Credentials):
        def refresh(self, request: object) -> None:
            raise AssertionError

    google_token = Google()  # type: ignore[no-untyped-call]
    google_token.token = token
    google_token.expiry = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + datetime.timedelta(
        days=1
    )
    headers: dict[str, str] = {}
    return {
        "floor": floor,
        "colony_pool agent.token()": agent.token,
        "colony-sdk get_auth_token()": sdk.get_auth_token,
        "google-auth before_request()": lambda: google_token.before_request(None, "GET", "u", headers),  # type: ignore[no-untyped-call]
    }


if __name__ == "__main__":
    if sys.argv[1] == "gevent":
        from gevent import monkey

        monkey.patch_all()
    main(sys.argv[1])

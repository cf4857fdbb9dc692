"""Those that hold a token and say whether it is still fresh: each asked the way its documentation shows.

Every one has a token that is good for a day, so that none goes near a network.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable
from typing import Any

DAY = 86_400.0
JWT = "x" * 200

Ask = Callable[[], object]


def floor() -> Ask:
    """What it takes at least: look at the clock."""
    expires = time.monotonic() + DAY

    def ask() -> str | None:
        if time.monotonic() < expires:
            return JWT
        return None

    return ask


def colony_pool(base_url: str, runtime: Any) -> Ask:
    """With metrics on, as by default."""
    from colony_pool import ColonyPool

    agent = ColonyPool(base_url, runtime=runtime, token_cache=None).agent("col_hot")
    agent.token()
    return agent.token


def colony_sdk(base_url: str) -> Ask:
    from colony_sdk import ColonyClient

    client = ColonyClient("col_hot", base_url=base_url, cache_token=False)
    client.get_auth_token()
    return client.get_auth_token


def google_auth() -> Ask:
    from google.auth.credentials import Credentials

    class Cached(Credentials):
        def refresh(self, request: object) -> None:
            raise AssertionError("the token is fresh")

    credentials = Cached()  # type: ignore[no-untyped-call]
    credentials.token = JWT
    credentials.expiry = (_now() + datetime.timedelta(days=1)).replace(tzinfo=None)
    headers: dict[str, str] = {}
    return lambda: credentials.before_request(None, "GET", "https://a.invalid", headers)  # type: ignore[no-untyped-call]


def authlib() -> Ask:
    from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]

    token = {"access_token": JWT, "token_type": "Bearer", "expires_at": time.time() + DAY}
    session = OAuth2Session("client", token=token)

    def ask() -> str:
        session.ensure_active_token(session.token)
        return str(session.token["access_token"])

    return ask


def azure_core() -> Ask:
    from azure.core.credentials import AccessToken
    from azure.core.pipeline import PipelineContext, PipelineRequest
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy
    from azure.core.rest import HttpRequest, HttpResponse

    class Cached:
        def get_token(self, *scopes: str, **options: object) -> AccessToken:
            return AccessToken(JWT, int(time.time() + DAY))

    policy: BearerTokenCredentialPolicy[HttpRequest, HttpResponse] = BearerTokenCredentialPolicy(Cached(), "scope")
    request = PipelineRequest(HttpRequest("GET", "https://a.invalid"), PipelineContext(None))
    return lambda: policy.on_request(request)


def botocore() -> Ask:
    from botocore.credentials import RefreshableCredentials  # type: ignore[import-untyped]

    def refresh() -> dict[str, str]:
        expiry = (_now() + datetime.timedelta(days=1)).isoformat()
        return {"access_key": "key", "secret_key": "secret", "token": JWT, "expiry_time": expiry}

    credentials = RefreshableCredentials.create_from_metadata(refresh(), refresh, "benchmark")
    return lambda: credentials.get_frozen_credentials().token


def msal() -> Ask:
    import msal  # type: ignore[import-untyped]

    application = msal.ConfidentialClientApplication(
        "client", client_credential="secret", authority="https://login.microsoftonline.com/tenant",
        http_client=_Microsoft(), instance_discovery=False,
    )  # fmt: skip

    def ask() -> str:
        return str(application.acquire_token_for_client(scopes=["scope/.default"])["access_token"])

    ask()
    return ask


class _Microsoft:
    """The two answers that MSAL wants before it can use its cache."""

    def get(self, url: str, **options: object) -> _Answer:
        host = "https://login.microsoftonline.com/tenant"
        return _Answer(
            {"issuer": host, "authorization_endpoint": f"{host}/authorize", "token_endpoint": f"{host}/token"}
        )

    def post(self, url: str, **options: object) -> _Answer:
        return _Answer({"access_token": JWT, "token_type": "Bearer", "expires_in": int(DAY)})

    def close(self) -> None: ...


class _Answer:
    status_code = 200

    def __init__(self, body: dict[str, object]) -> None:
        self.headers: dict[str, str] = {}
        self.text = json.dumps(body)

    def raise_for_status(self) -> None: ...


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def holders(base_url: str, runtime: Any) -> dict[str, Callable[[], Ask]]:
    """All of them by name, to be made one by one: one that cannot be made must not lose the others."""
    return {
        "the floor": floor,
        "colony_pool": lambda: colony_pool(base_url, runtime),
        "colony-sdk": lambda: colony_sdk(base_url),
        "authlib": authlib,
        "google-auth": google_auth,
        "azure-core": azure_core,
        "botocore": botocore,
        "msal": msal,
    }

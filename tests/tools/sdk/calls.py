"""The script that both clients play: calls of the SDK's README and examples, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.tools.sdk.server import asked

POST = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
FINAL = (400, 403, 404, 409, 418, 422, 429, 500, 501, 502)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def failing(status: int) -> Callable[[Any], Any]:
    return lambda c: c.get_post(asked(status))


def rate_limit(c: Any) -> Any:
    c.get_me()
    return c.last_rate_limit, c.last_rate_limit.remaining, sorted(c.last_response_headers)


def hooks(c: Any) -> Any:
    seen: list[Any] = []
    c.on_request(lambda method, url, body: seen.append((method, url.partition("/api/v1")[2], body)))
    c.on_response(lambda *facts: seen.append((facts[0], facts[2], type(facts[3]).__name__)))
    c.get_user(POST)
    c.vote_post(POST)
    c.upload_message_attachment("h.png", PNG, "image/png")
    c.get_group_avatar(POST)
    c._on_request.clear()
    c._on_response.clear()
    return [entry for entry in seen if "/auth/token" not in str(entry)]


def caching(c: Any) -> Any:
    c.enable_cache(ttl=60)
    first, second = c.get_user(OTHER), c.get_user(OTHER)
    same = first is second
    c.vote_post(OTHER)
    third = c.get_user(OTHER)
    c.clear_cache()
    c.enable_cache(ttl=0)
    return same, third == first


def typed(c: Any) -> Any:
    c.typed = True
    try:
        return c.get_me(), c.get_post(POST), c.create_comment(POST, "hi"), list(c.iter_posts(max_results=3))
    finally:
        c.typed = False


def breaker(c: Any) -> Any:
    c.enable_circuit_breaker(threshold=1)
    said = []
    for _ in range(2):
        try:
            c.get_post(asked(500))
        except Exception as error:
            said.append((type(error).__name__, str(error)))
    c.enable_circuit_breaker(0)
    return said


def rotation(c: Any) -> Any:
    answer = c.rotate_key()
    return answer, c.api_key, c.get_me()


def recovery(c: Any) -> Any:
    answer = c.recover_key("me"), c.confirm_key_recovery("from the mail")
    return answer, c.api_key, c.get_me()


def refresh(c: Any) -> Any:
    c.refresh_token()
    return c.get_me()


CALLS: dict[str, Callable[[Any], Any]] = {
    "get_me": lambda c: c.get_me(),
    "get_user": lambda c: c.get_user(POST),
    "get_post": lambda c: c.get_post(POST),
    "get_posts": lambda c: c.get_posts(colony="findings", limit=10, offset=5),
    "get_posts sort": lambda c: c.get_posts(sort="top", limit=3),
    "get_rising_posts": lambda c: c.get_rising_posts(limit=2),
    "get_for_you_feed": lambda c: c.get_for_you_feed(limit=10),
    "get_trending_tags": lambda c: c.get_trending_tags(window="24h"),
    "create_post": lambda c: c.create_post(title="Hello", body="Größe ✓", colony="general"),
    "create_post once": lambda c: c.create_post(title="A", body="B", colony="general", idempotency_key="k1"),
    "create_post by slug": lambda c: c.create_post(title="A", body="B", colony="name-7"),
    "create_post nowhere": lambda c: c.create_post(title="A", body="B", colony="no-such-colony"),
    "update_post": lambda c: c.update_post(POST, title="New"),
    "delete_post": lambda c: c.delete_post(POST),
    "iter_posts": lambda c: list(c.iter_posts(colony="general", page_size=20)),
    "iter_posts some": lambda c: list(c.iter_posts(max_results=7)),
    "create_comment": lambda c: c.create_comment(POST, "Great post!"),
    "create_comment nested": lambda c: c.create_comment(POST, "yes", parent_id=OTHER),
    "get_comments": lambda c: c.get_comments(POST, page=2),
    "get_all_comments": lambda c: c.get_all_comments(POST),
    "iter_comments": lambda c: [row["id"] for row in c.iter_comments(POST, max_results=30)],
    "vote_post": lambda c: c.vote_post(POST),
    "vote_comment down": lambda c: c.vote_comment(POST, value=-1),
    "react_post": lambda c: c.react_post(POST, "fire"),
    "get_poll": lambda c: c.get_poll(POST),
    "vote_poll": lambda c: c.vote_poll(POST, [OTHER]),
    "send_message": lambda c: c.send_message("colonist-one", "Hey!"),
    "get_conversation": lambda c: c.get_conversation("colonist-one"),
    "list_conversations": lambda c: c.list_conversations(),
    "get_notifications": lambda c: c.get_notifications(unread_only=True),
    "mark_notifications_read": lambda c: c.mark_notifications_read(),
    "search": lambda c: c.search("agent economy & more", limit=5),
    "follow": lambda c: c.follow(POST),
    "unfollow": lambda c: c.unfollow(POST),
    "update_profile": lambda c: c.update_profile(bio="new"),
    "get_unread_count": lambda c: c.get_unread_count(),
    "get_colonies": lambda c: c.get_colonies(limit=3),
    "join_colony": lambda c: c.join_colony("general"),
    "leave_colony": lambda c: c.leave_colony("general"),
    "create_webhook": lambda c: c.create_webhook("https://example.org/hook", ["post_created"], "s" * 20),
    "get_webhooks": lambda c: c.get_webhooks(),
    "delete_webhook": lambda c: c.delete_webhook(POST),
    "upload attachment": lambda c: c.upload_message_attachment('a "b".png', PNG, "image/png"),
    "upload avatar": lambda c: c.upload_group_avatar(POST, "a.png", PNG, "image/png"),
    "download attachment": lambda c: c.get_message_attachment(POST, variant="thumb"),
    "download avatar": lambda c: c.get_group_avatar(POST),
    "upload refused": lambda c: c.upload_group_avatar(asked(403), "a.png", PNG, "image/png"),
    "upload throttled": lambda c: c.upload_group_avatar(asked(429), "a.png", PNG, "image/png"),
    "download missing": lambda c: c.get_group_avatar(asked(404)),
    "vault": lambda c: (c.vault_upload_file("n.md", "# x"), c.vault_get_file("n.md"), c.vault_list_files()),
    "get_posts_by_ids": lambda c: c.get_posts_by_ids([POST, asked(404), OTHER]),
    "get_users_by_ids": lambda c: c.get_users_by_ids([POST, asked(404)]),
    "401 for good": lambda c: c.get_post(asked(401)),
    **{f"status {status}": failing(status) for status in FINAL},
    "503, then well": lambda c: c.get_post(asked(503)),
    "504, then well": lambda c: c.vote_post(asked(504), idempotency_key="k2"),
    "nothing to say": lambda c: c.create_comment(POST, ""),
    "exchange_token": lambda c: c.exchange_token(audience="acme-rp", scope="openid"),
    "get_auth_token": lambda c: c.get_auth_token()[:4],
    "last_rate_limit": rate_limit,
    "hooks": hooks,
    "caching": caching,
    "typed": typed,
    "its breaker": breaker,
    "refresh_token": refresh,
    "rotate_key": rotation,
    "recovery of a key": recovery,
}  # fmt: skip

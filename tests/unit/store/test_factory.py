"""``shared=``: which store it names, what it refuses, and that nothing is loaded or touched before it is needed."""

from __future__ import annotations

import pickle
import subprocess
import sys
import traceback

import pytest

from colony_pool.testing import MemoryStore
from tests.support.private import HostStore, RedisStore, Sealer, key_name, open_store

URL = "https://api.example/v1"
KEY = "col_a_key"


def test_each_value_names_its_store() -> None:
    mine = MemoryStore()
    assert None is open_store(None, URL)
    assert mine is open_store(mine, URL)
    assert isinstance(open_store("host", URL), HostStore)
    for scheme in ("redis", "rediss", "valkey", "valkeys"):
        store = open_store(f"{scheme}://:pw@127.0.0.1:1/2", URL, share_tokens=True)
        assert isinstance(store, RedisStore)
        assert (True, f"RedisStore('{scheme}://***@127.0.0.1:1/2')") == (store.carries_tokens, repr(store))
        store.close()


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        ("hots", "'hots'"),
        ("", "''"),
        ("reddis://:s3cret@host/0", "'reddis://***@host/0'"),
        ("redis:/:s3cret@host", "'***'"),
        ("redis://:s3cret@", "'redis://***@'"),
        ("redis://u:s3cret@host:port", "'redis://***@host:port'"),
        ("redis://u:s3cret@[::1", "'redis://***@[::1'"),
        ("http://host/?password=s3cret", "'http://host/'"),
        ("redis://host/0?password=a@s3cret&db=x", "'redis://***'"),
        ("redis://:s3/cret@host", "'redis://***'"),
        ("redis://:s3cret@host/zero", "'redis://***@host/zero'"),
        (7, "<int>"),
        (b"redis://:s3cret@host", "<bytes>"),
    ],
)
def test_a_bad_value_is_told_what_is_allowed_without_its_password(bad: object, shown: str) -> None:
    """G23: in no traceback, not even with its locals."""
    with pytest.raises(ValueError, match="shared=") as caught:
        open_store(bad, URL)  # type: ignore[arg-type]
    assert f"shared={shown}: " in str(caught.value)
    assert "s3cret" not in locals_of_ours(caught.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [("socket_timeout=s3cret", "Invalid value for 'socket_timeout'"), ("sokcet_timeout=1", "'sokcet_timeout'")],
)
def test_an_option_that_is_none_is_told_before_the_first_outage(options: str, problem: str) -> None:
    with pytest.raises(ValueError, match="shared='redis://host'") as caught:
        open_store(f"redis://host?{options}", URL)
    assert problem in str(caught.value)
    assert "s3cret" not in locals_of_ours(caught.value) + str(caught.value)


def test_a_bad_url_is_in_no_local_of_the_store_either() -> None:
    with pytest.raises(ValueError, match="shared=") as caught:
        RedisStore("redis://:s3cret@", URL)
    assert "s3cret" not in locals_of_ours(caught.value)


def locals_of_ours(exc: BaseException) -> str:
    shown = traceback.TracebackException.from_exception(exc, capture_locals=True)
    ours = [frame for frame in shown.stack if "colony_pool/_store" in frame.filename]
    assert ours
    return str([frame.locals for frame in ours])


@pytest.mark.parametrize("shared", [None, "host", MemoryStore()])
def test_tokens_are_shared_by_url_alone(shared: object) -> None:
    with pytest.raises(ValueError, match=r"share_tokens=True: must go with shared="):
        open_store(shared, URL, share_tokens=True)  # type: ignore[arg-type]


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_nothing_is_needed_but_for_a_url() -> None:
    code = """
import sys
sys.modules.update(redis=None, cryptography=None)
from colony_pool import ColonyPool
from tests.support.private import open_store
print(type(open_store("host", "u")).__name__)
"""
    assert "HostStore\n" == run(code)


@pytest.mark.parametrize("missing", ["redis", "cryptography"])
def test_what_is_missing_is_told_with_the_command_that_brings_it(missing: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
from tests.support.private import open_store
try:
    open_store("redis://:s3cret@host", "u", share_tokens=True)
except ImportError as exc:
    print(exc)
"""
    shown = run(code)
    assert "pip install 'colony-pool[redis]'" in shown
    assert "s3cret" not in shown


def test_a_key_has_one_name_on_every_host_and_another_for_every_api() -> None:
    assert "6ca0a1a1" != key_name(KEY, URL)[:8] == key_name(KEY, URL + "/")[:8]
    assert 32 == len(key_name(KEY, URL))
    assert 3 == len({key_name(KEY, URL), key_name(KEY + "x", URL), key_name(KEY, URL + "x")})
    assert KEY not in key_name(KEY, URL)


def test_a_token_is_read_by_who_has_the_key_and_unaltered_alone() -> None:
    sealed = Sealer(KEY, URL).seal("jwt")
    assert sealed != Sealer(KEY, URL).seal("jwt")
    assert "jwt" == Sealer(KEY, URL + "/").unseal(sealed)
    assert None is Sealer(KEY + "x", URL).unseal(sealed)
    assert None is Sealer(KEY, URL + "x").unseal(sealed)
    altered = ("B" if sealed[0] == "A" else "A") + sealed[1:]
    for rubbish in (altered, sealed[:-4], "", "AAAA", "not base64!", "é"):
        assert None is Sealer(KEY, URL).unseal(rubbish)


def test_a_sealer_shows_and_pickles_nothing() -> None:
    sealer = Sealer(KEY, URL)
    assert "<Sealer>" == repr(sealer)
    with pytest.raises(TypeError, match="does not pickle"):
        pickle.dumps(sealer)

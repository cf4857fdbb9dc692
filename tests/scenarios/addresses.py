"""A host with several addresses, of which some are silent, refuse, or move."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Any

from tests.support.addresses import NAME, Names, Swallowed, entry, refused, silent
from tests.support.namespaces import private_mounts, run

from . import GEVENT, World, scenario
from ._after import assert_documented, key
from .tls import Authority


def _patient() -> Any:
    from colony_pool import Timeout

    return Timeout(connect=600.0, read=600.0, total=600.0)  # whoever waited for that would hang


@scenario()
def g4_a_silent_address_costs_a_moment_and_not_the_connect_timeout(w: World) -> None:
    with silent(w.colony.port, "::1") as dead, Names(*dead, entry("127.0.0.1", w.colony.port)) as names:
        before = w.sockets()
        pool = w.pool(names.url(w.colony.port), allow_insecure=True, timeout=_patient())
        agent = pool.agent(key("a"))
        assert w.spawn(agent.token).result()
        assert w.spawn(agent.get, "/users/me").result().status == 200
        assert names.tried[:2] == ["::1", "127.0.0.1"]
        w.until(lambda: w.sockets() - before == pool.status().connections[1], "only idle sockets are open")


@scenario()
def g4_the_address_that_has_answered_is_tried_first(w: World) -> None:
    with silent(w.colony.port, "::1") as dead, Names(*dead, entry("127.0.0.1", w.colony.port)) as names:
        agent = w.pool(names.url(w.colony.port), allow_insecure=True, timeout=_patient()).agent(key("a"))
        for _ in range(3):
            assert w.spawn(agent.get, "/users/me").result().status == 200
            w.colony.close_idle()
            w.until(lambda: w.colony.stats().open_connections == 0)
        calls = 4 if w.kind == "asyncio" else 3  # there a token has a connection of its own
        assert names.tried == ["::1", *["127.0.0.1"] * calls]


@scenario()
def g4_families_take_turns_and_what_fails_is_followed_at_once(w: World) -> None:
    good = entry("127.0.0.1", w.colony.port)
    with Names(refused("::1"), refused("::1"), good, refused("127.0.0.1")) as names:
        agent = w.pool(names.url(w.colony.port), allow_insecure=True, timeout=_patient()).agent(key("a"))
        assert w.spawn(agent.token).result()
        assert names.tried == ["::1", "127.0.0.1"]
        assert w.colony.stats().connections == 1


@scenario()
def g4_a_name_that_moves_is_followed(w: World) -> None:
    """What has answered before is not tried when the name has it no more."""
    old, new = w.colony, w.other_colony()
    with Names(refused("127.0.0.1"), entry("127.0.0.1", old.port)) as names:
        agent = w.pool(names.url(old.port), allow_insecure=True).agent(key("a"))
        assert w.spawn(agent.get, "/users/me").result().status == 200
        names.entries[:] = [refused("127.0.0.1"), entry("127.0.0.1", new.port)]
        old.close_idle()
        w.until(lambda: old.stats().open_connections == 0)
        before = old.stats().connections
        agent.invalidate()  # the new server knows nothing of the old one's tokens
        assert w.spawn(agent.get, "/users/me").result().status == 200
        assert (old.stats().connections, new.count("/users/me")) == (before, 1)


@scenario()
def g4_all_addresses_together_have_the_time_of_one(w: World) -> None:
    from colony_pool import ColonyNetworkError, RetryConfig, Timeout

    with silent(w.colony.port, "127.0.0.2", "127.0.0.3", "127.0.0.4") as dead, Names(*dead) as names:
        before = w.sockets()
        pool = w.pool(
            names.url(w.colony.port), allow_insecure=True, timeout=Timeout(connect=3.0, read=600.0, total=600.0),
            auth_token_retry=RetryConfig(max_retries=0),
        )  # fmt: skip
        error = w.spawn(pool.agent(key("a")).token).join().error
        assert_documented(error, ColonyNetworkError, words="timeout: no connection in time")
        assert len(names.tried) > 1
        w.until(lambda: w.sockets() == before, "no socket is left")


@scenario(*GEVENT, "asyncio")
def g3_whoever_dies_while_it_connects_leaves_no_socket(w: World) -> None:
    good = entry("127.0.0.1", w.colony.port)
    with silent(w.colony.port, "127.0.0.2", "127.0.0.3") as dead, Names(good) as names:
        before = w.sockets()
        pool = w.pool(names.url(w.colony.port), allow_insecure=True, timeout=_patient())
        agent = pool.agent(key("a"))
        agent.token()
        w.colony.close_idle()
        w.until(lambda: w.colony.stats().open_connections == 0)
        names.entries[:] = dead
        names.tried.clear()
        tasks = [w.spawn(lambda: agent.get("/users/me", timeout=600.0)) for _ in range(10)]
        w.until(lambda: len(names.tried) == 20, "each tries both")
        for task in tasks:
            task.kill()
        for task in tasks:
            task.join()
        w.until(lambda: w.sockets() - before == pool.status().connections[1], "no socket is left")
        names.entries[:] = [good]
        assert w.spawn(agent.get, "/users/me").result().status == 200


@scenario()
def g26_close_ends_attempts_that_connect_to_several_addresses(w: World) -> None:
    from colony_pool import PoolClosedError

    with silent(w.colony.port, "127.0.0.2", "127.0.0.3") as dead, Names(*dead) as names:
        before = w.sockets()
        pool = w.pool(names.url(w.colony.port), allow_insecure=True, timeout=_patient())
        task = w.spawn(pool.agent(key("a")).token)
        w.until(lambda: len(names.tried) == 2, "both are tried")
        pool.close()
        assert type(task.join().error) is PoolClosedError
        w.until(lambda: w.sockets() == before, "no socket is left")


@scenario("threads", "gevent", "asyncio")
def g22_a_name_with_a_dot_at_its_end_is_the_name_in_the_certificate(w: World) -> None:
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder)
        server = w.other_colony(tls=authority.issue("server", NAME))
        with Names(entry("127.0.0.1", server.port)) as names:
            url = names.url(server.port, "https", NAME + ".")
            pool = w.pool(url, ca_certs=authority.root)
            assert w.spawn(pool.agent(key("a")).get, "/users/me").result().status == 200


@scenario("threads", "gevent", "gevent-unpatched", "asyncio")
def g4_a_network_that_drops_packets_to_one_address_costs_a_moment(w: World) -> None:
    """The system's own resolver and a network of its own: IPv6 is announced, and its packets go nowhere."""
    from colony_pool.testing import FakeColony

    with tempfile.TemporaryDirectory() as folder, Swallowed() as swallowed:
        private_mounts()
        hosts = Path(folder) / "hosts"
        hosts.write_text(f"{swallowed.host} {NAME}\n127.0.0.1 {NAME} localhost\n")
        run("mount", "--bind", str(hosts), "/etc/hosts")
        with FakeColony() as colony:
            pool = w.pool(f"http://{NAME}:{colony.port}/api/v1", allow_insecure=True, timeout=_patient())
            found = [each[4][0] for each in socket.getaddrinfo(NAME, 80, type=socket.SOCK_STREAM)]
            assert found == [swallowed.host, "127.0.0.1"]
            agent = pool.agent(key("a"))
            assert w.spawn(agent.token).result()
            assert swallowed.connections() > 0, "the dead address was tried"
            assert w.spawn(agent.get, "/users/me").result().status == 200
            colony.close_idle()
            w.until(lambda: colony.stats().open_connections == 0)
            before = swallowed.connections()
            assert w.spawn(agent.token).result()
            if w.loops is None:  # anyio tries IPv6 first each time
                assert w.spawn(agent.get, "/users/me").result().status == 200
                assert swallowed.connections() == before, "it is not tried again"
            pool.close()

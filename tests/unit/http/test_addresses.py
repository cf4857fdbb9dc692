"""Which address of a host is tried when, what is remembered, and what is left of a task that is killed meanwhile."""

from __future__ import annotations

import errno
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.addresses import NAME, Names, entry, refused, silent
from tests.support.private import Dialer, Resolver, ThreadRuntime, dialer, native_poll, resolver

ROOT = Path(__file__).parents[3]
TIMEOUT = 600.0  # whoever waits for it hangs


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listening:
        yield listening


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """That of what is remembered."""
    it = Clock()
    for module in (dialer, resolver):
        monkeypatch.setattr(module, "monotonic", it)
    return it


def a_resolver(**options: Any) -> Resolver:
    return Resolver(ThreadRuntime().event, **options)


def a_dialer() -> Dialer:
    return Dialer(a_resolver(), native_poll)


def left() -> float:
    return TIMEOUT


def connect(it: Dialer, *, fresh: bool = False, seconds_left: Callable[[], float] = left) -> str:
    """The address that a new connection has."""
    dial = it.dial(NAME, 80)
    try:
        with dial.connect(dial.addresses(seconds_left, fresh=fresh), seconds_left, TIMEOUT, ()) as sock:
            return str(sock.getpeername()[0])
    finally:
        dial.close()


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def descriptors() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return {link for link in found if link.startswith("socket:")}


def test_g4_what_has_answered_is_tried_first_for_ten_minutes_and_not_by_who_needs_a_fresh_one(
    server: socket.socket, clock: Clock
) -> None:
    with Names(refused("127.0.0.1"), entry("127.0.0.1", port_of(server))) as names:
        it, good = a_dialer(), names.entries[1][4]
        order: list[Any] = []

        def tried(*, fresh: bool = False) -> list[Any]:
            dial = it.dial(NAME, 80)
            order[:] = [each[4] for each in dial.addresses(left, fresh=fresh)]
            return order

        assert tried()[0] != good
        connect(it)
        clock.now += 600.0
        assert tried()[0] == good
        assert tried(fresh=True)[0] != good
        clock.now += 0.1
        assert tried()[0] != good


def test_g4_an_address_that_fails_is_forgotten(server: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        first, second = entry("127.0.0.1", port_of(other)), entry("127.0.0.1", port_of(server))
        with Names(first, second):
            it = a_dialer()
            connect(it)
            assert it.in_order(NAME, 80, [second, first])[0] == first
            other.close()
            connect(it)
            assert it.in_order(NAME, 80, [first, second])[0] == second
            server.close()
            with pytest.raises(ConnectionRefusedError):
                connect(it)
            assert it.in_order(NAME, 80, [first, second])[0] == first


def test_what_a_server_says_is_told_before_what_this_host_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No route for IPv6 is no reason why IPv4 was refused."""
    lacking = OSError(101, "Network is unreachable")
    for order in ((1, 0), (0, 1)):
        entries = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 80, 0, 0)), refused("127.0.0.1")]
        with Names(*(entries[i] for i in order)):
            real = socket.socket.connect

            def no_route(sock: socket.socket, address: Any, real: Any = real) -> None:
                if sock.family == socket.AF_INET6:
                    raise lacking
                real(sock, address)

            monkeypatch.setattr(socket.socket, "connect", no_route)
            with pytest.raises(ConnectionRefusedError):
                connect(a_dialer())
            monkeypatch.undo()


def test_g11_an_address_that_no_descriptor_is_left_for_has_not_been_silent(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent(port_of(server), "127.0.0.2") as dead, Names(*dead, entry("127.0.0.1", port_of(server))):
        real = socket.socket

        def scarce(*args: Any) -> socket.socket:
            monkeypatch.setattr(socket, "socket", none_left)
            return real(*args)

        def none_left(*_: object) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        dial = a_dialer().dial(NAME, 80)
        addresses = dial.addresses(left, fresh=False)
        monkeypatch.setattr(socket, "socket", scarce)
        with pytest.raises(OSError, match="Too many open files"):
            dial.connect(addresses, left, 0.5, ())
        monkeypatch.undo()


def test_a_host_without_an_address_is_an_error() -> None:
    with Names(), pytest.raises(OSError, match="the host name has no address"):
        connect(a_dialer())


def test_what_is_remembered_is_bounded(server: socket.socket) -> None:
    it, names = a_dialer(), a_resolver()
    for number in range(1000):
        it.has_answered(f"host{number}", 80, ("127.0.0.1", 80))
        names.look_up("127.0.0.1", number)
    assert len(it._answered) <= 64
    assert len(names._names) <= 64


@pytest.mark.parametrize("has_poll", [True, False])
def test_g4_a_silent_address_is_passed_over(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch, has_poll: bool
) -> None:
    """Without ``poll``: Windows has none."""
    if not has_poll:
        monkeypatch.delattr(select, "poll")
    with silent(port_of(server), "127.0.0.2") as dead, Names(*dead, entry("127.0.0.1", port_of(server))):
        assert connect(a_dialer()) == "127.0.0.1"


def test_g4_a_silent_address_is_passed_over_with_thousands_of_descriptors(server: socket.socket) -> None:
    """``select`` takes none above 1,023."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1500:
        pytest.skip(f"no more than {hard} descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1500), hard))
    many: list[int] = []
    try:
        with silent(port_of(server), "127.0.0.2") as dead, Names(*dead, entry("127.0.0.1", port_of(server))):
            while not many or many[-1] < 1100:
                many.append(os.dup(0 if not many else many[0]))
            assert connect(a_dialer()) == "127.0.0.1"
    finally:
        for number in many:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Strike:
    """Ends the current thread's work at one step of the two modules."""

    FILES = tuple(str(Path(module.__file__)) for module in (dialer, resolver) if module.__file__)

    def __init__(self, step: int) -> None:
        self._left = step
        self.has_struck = False

    def __call__(self, frame: Any, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in self.FILES:
            return None
        if event in ("call", "line"):
            self._left -= 1
            if self._left == 0:
                self.has_struck = True
                raise KeyboardInterrupt
        return self


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # some sockets close with their frame
def test_g3_a_thread_that_dies_at_any_step_leaves_no_socket_and_holds_up_nobody(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "ATTEMPT_DELAY", 0.001)
    with silent(port_of(server), "127.0.0.2") as dead, Names(refused("127.0.0.1"), *dead) as names:
        names.entries.append(entry("127.0.0.1", port_of(server)))
        before = descriptors()
        it = a_dialer()
        step, has_struck = 0, True
        while has_struck:
            step += 1
            it.has_failed(NAME, 80, names.entries[-1][4])  # so that each is tried
            strike = Strike(step)

            def dies(strike: Strike = strike) -> None:
                sys.settrace(strike)
                try:
                    connect(it)
                except KeyboardInterrupt:
                    pass
                finally:
                    sys.settrace(None)

            victim = threading.Thread(target=dies)  # what is struck in a handler stays the context of its thread
            victim.start()
            victim.join()
            has_struck = strike.has_struck
            assert descriptors() == before, f"struck at step {step}"
            assert it.dial(NAME, 80).addresses(left, fresh=True), f"struck at step {step}"
        assert step > 100, "there are so many steps"
        assert it._resolver.look_up(NAME, 80)._name.waiting == [], "nobody waits"


def test_g2_g3_who_waits_for_a_look_up_whose_thread_dies_makes_the_next(server: socket.socket) -> None:
    """As Dramatiq and ``func_timeout`` kill it, at any step; nobody is told by the dead."""
    with Names(entry("127.0.0.1", port_of(server))) as names:
        step, has_struck = 0, True
        while has_struck:
            step += 1
            it, strike = a_resolver(), Strike(step)
            found: list[Any] = []
            names.asked = 0
            names.silence()

            def dies(it: Resolver = it, strike: Strike = strike) -> None:
                sys.settrace(strike)
                try:
                    it.look_up(NAME, 80).addresses(left, fresh=True)
                except KeyboardInterrupt:
                    pass
                finally:
                    sys.settrace(None)

            def waits(it: Resolver = it, found: list[Any] = found) -> None:
                found.extend(it.look_up(NAME, 80).addresses(left, fresh=True))

            victim = threading.Thread(target=dies)
            victim.start()
            while victim.is_alive() and not names.asked:
                victim.join(0.001)
            other = threading.Thread(target=waits)
            other.start()
            names.speak()
            other.join(60)
            victim.join(60)
            assert found == names.entries, f"struck at step {step}"
            has_struck = strike.has_struck
        assert step > 30, "there are so many steps"


def test_g2_a_name_is_good_for_a_minute_while_no_look_up_can_begin(clock: Clock) -> None:
    full = [False]
    it = a_resolver(can_begin=lambda: not full[0])

    def found(*, fresh: bool = False) -> Any:
        return it.look_up(NAME, 80).addresses(left, fresh=fresh)

    with Names(entry("127.0.0.1", 80)) as names:
        assert found() == names.entries
        assert (found(), names.asked) == (names.entries, 2), "a look-up that can begin is made"
        full[0] = True
        clock.now += 60.0
        assert (found(), names.asked) == (names.entries, 2)
        assert (found(fresh=True), names.asked) == (names.entries, 3), "a fresh one waits for its turn"
        clock.now += 60.1
        assert (found(), names.asked) == (names.entries, 4)


def test_g2_each_who_shared_a_look_up_has_an_exception_of_its_own() -> None:
    class Odd(UnicodeError):
        def __init__(self) -> None:
            super().__init__("too long")

    for error in (socket.gaierror(-2, "Name or service not known"), Odd()):
        with Names() as names:
            names.error = error
            names.silence()
            it = a_resolver()
            raised: list[Any] = []

            def ask(it: Resolver = it, raised: list[Any] = raised) -> None:
                try:
                    it.look_up(NAME, 80).addresses(left, fresh=False)
                except Exception as problem:
                    raised.append(problem)

            threads = [threading.Thread(target=ask) for _ in range(5)]
            for thread in threads:
                thread.start()
            while len(it.look_up(NAME, 80)._name.waiting) < 5:
                threads[0].join(0.001)
            names.speak()
            for thread in threads:
                thread.join(60)
            assert len({id(each) for each in [*raised, error]}) == 6
            assert {str(each) for each in raised} == {str(error)}
            assert names.asked == 1


@pytest.mark.parametrize("limit", [TimeoutError("a time limit of the caller's"), RuntimeError("the caller's")])
def test_g3_what_strikes_who_makes_the_look_up_is_told_to_nobody_else(
    limit: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler raises in the thread that it finds. The others go on at once."""
    monkeypatch.setattr(resolver, "_RECHECK", TIMEOUT)
    with Names(entry("127.0.0.1", 80)) as names:
        it = a_resolver()
        others: list[Any] = []
        other = threading.Thread(target=lambda: others.extend(it.look_up(NAME, 80).addresses(left, fresh=False)))
        real = socket.getaddrinfo

        def struck(*args: Any) -> Any:
            if threading.current_thread() is not other:
                other.start()
                while len(it.look_up(NAME, 80)._name.waiting) < 2:
                    pass
                raise limit
            return real(*args)

        monkeypatch.setattr(socket, "getaddrinfo", struck)
        with pytest.raises(type(limit)) as caught:
            it.look_up(NAME, 80).addresses(left, fresh=False)
        monkeypatch.undo()
        other.join(60)
        assert caught.value is limit
        assert others == names.entries


def test_g2_an_address_is_not_looked_up() -> None:
    def never(*_: object) -> Any:
        raise AssertionError("looked up")

    it = a_resolver(spawn=never, can_begin=never)
    for host in ("127.0.0.1", "::1"):
        assert it.look_up(host, 80).addresses(left, fresh=True)[0][4][:2] == (host, 80)


ONLY_SOCKETS_ARE_PATCHED = """
from gevent import monkey
monkey.patch_socket()
import contextlib, socket
import gevent
from colony_pool import ColonyPool, Timeout
from tests.support.addresses import Names, entry, silent

BODY = b'{"access_token": "one", "expires_in": 3600}'

def serve():
    while True:
        line = server.accept()[0]
        line.settimeout(0.05)  # those of the crowd say nothing
        with contextlib.suppress(OSError):
            if b"POST" in line.recv(65536):
                line.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(BODY), BODY))

with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as crowd:
    port = server.getsockname()[1]
    for _ in range(4):
        other = crowd.enter_context(socket.socket())
        other.setblocking(False)
        other.connect_ex(server.getsockname())
    dead = crowd.enter_context(silent(port, "127.0.0.2"))
    names = crowd.enter_context(Names(*dead, entry("127.0.0.1", port)))
    timeout = Timeout(connect=600.0, read=600.0, total=600.0)
    pool = ColonyPool(names.url(port), allow_insecure=True, token_cache=None, timeout=timeout, runtime="gevent")
    task = gevent.spawn(pool.agent("col_a").token)
    while len(names.tried) < 2:
        gevent.sleep(0.01)
    gevent.spawn(serve)
    print(task.get())
"""


def test_g4_a_hub_goes_on_while_addresses_race_though_select_is_not_patched() -> None:
    """In the hub that waits is the server that it waits for."""
    program = [sys.executable, "-c", ONLY_SOCKETS_ARE_PATCHED]
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout == "one\n", done.stderr

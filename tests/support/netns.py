"""A bad network: two network namespaces, joined by a wire that loses packets and delivers them late.

The wire is a process that carries packets between two TUN devices, because ``tc``'s netem is missing in many kernels;
the TCP at both ends is the kernel's own. ``FarColony`` is this end: it makes the caller's namespace and device, and
starts the other end, ``python -m tests.support.netns DESCRIPTOR SEED``, which is a FakeColony behind the wire and
takes JSON lines: ``{"wire": {"loss": 0.2, "delay": 0.01}}``, ``{"forget": []}``, ``{"count": ["/auth/token", 200]}``.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import json
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import threading
from time import monotonic
from typing import Any

from colony_pool.testing import FakeColony
from tests.support.namespaces import NEWNET, Impossible, run, unshare

NEAR, FAR = "10.77.0.1", "10.77.0.2"
_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
_MTU = 1500


def require_ip() -> None:
    """``Impossible`` without iproute2; where the environment says CI, an error that is no reason to skip."""
    if shutil.which("ip") is None:
        if os.environ.get("CI"):
            raise FileNotFoundError("ip: install iproute2")
        raise Impossible("there is no ip here: install iproute2")


def device(address: str) -> int:
    """The descriptor of a TUN device with ``address``, in a network namespace of this thread's own."""
    require_ip()
    unshare(NEWNET)
    try:
        number = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(number, _TUNSETIFF, struct.pack("16sH22x", b"wire", _TUN_WITHOUT_HEADER))
    except OSError as error:
        raise Impossible(f"no TUN device here: {error}") from None
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{address}/30", "dev", "wire")
    run("ip", "link", "set", "wire", "up", "mtu", str(_MTU))
    return number


class Wire:
    """Carries packets both ways. ``loss`` is a ratio, ``delay`` seconds; a packet may overtake another.

    As a NAT does, it can forget the TCP connections that it knows, and then says nothing about their packets.
    """

    def __init__(self, one: int, other: int, seed: int) -> None:
        self.loss = self.delay = 0.0
        self.lost = self.carried = 0
        self._known: set[frozenset[int]] = set()  # connections, by their two ports
        self._forgotten: set[frozenset[int]] = set()
        self._across = {one: other, other: one}
        self._dice = random.Random(seed)
        self._late: list[tuple[float, int, int, bytes]] = []  # (due, serial, to whom, packet)
        self._serial = itertools.count()

    def forget(self) -> None:
        """Carry no more packets of the connections that were seen so far."""
        self._forgotten |= self._known

    def run(self) -> None:
        """Carry, for ever."""
        poll = select.poll()
        for end in self._across:
            poll.register(end, select.POLLIN)
        while True:
            for end, _ in poll.poll(self._until_due()):
                self._take(end)
            while self._late and self._late[0][0] <= monotonic():
                _, _, to, packet = heapq.heappop(self._late)
                os.write(to, packet)
                self.carried += 1

    def _until_due(self) -> int | None:
        """Milliseconds until the next packet arrives."""
        return max(0, round((self._late[0][0] - monotonic()) * 1000)) if self._late else None

    def _take(self, end: int) -> None:
        packet = os.read(end, 2 * _MTU)
        self._known.add(ports := _ports(packet))
        if ports in self._forgotten or self._dice.random() < self.loss:
            self.lost += 1
            return
        due = monotonic() + self.delay * (1.0 + self._dice.random())
        heapq.heappush(self._late, (due, next(self._serial), self._across[end], packet))


def _ports(packet: bytes) -> frozenset[int]:
    """The ports of a packet of TCP over IPv4."""
    return frozenset(struct.unpack_from("!HH", packet, 4 * (packet[0] & 15)))


class FarColony:
    """A FakeColony at the other end of a bad wire. This thread, and what it starts, moves to this end."""

    def __init__(self, seed: int = 0) -> None:
        near = device(NEAR)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.netns", str(near), str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[near],
        )  # fmt: skip
        os.close(near)
        self.base_url: str = self._reply()["base_url"]

    def wire(self, *, loss: float = 0.0, delay: float = 0.0) -> int:
        """Set the wire; return how many packets it has lost so far."""
        return int(self._ask({"wire": {"loss": loss, "delay": delay}})["lost"])

    def forget(self) -> None:
        """Let the wire forget the connections that it has seen."""
        self._ask({"forget": []})

    def count(self, path: str, status: int) -> int:
        """As FakeColony's."""
        return int(self._ask({"count": [path, status]})["count"])

    def close(self) -> None:
        with self._process as process:
            process.kill()

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        reply: dict[str, Any] = json.loads(self._process.stdout.readline())
        if "impossible" in reply:
            raise Impossible(reply["impossible"])
        return reply


def _obey(colony: FakeColony, wire: Wire, command: dict[str, Any]) -> dict[str, Any]:
    if "wire" in command:
        wire.loss, wire.delay = command["wire"]["loss"], command["wire"]["delay"]
        return {"lost": wire.lost, "carried": wire.carried}
    if "forget" in command:
        wire.forget()
        return {}
    path, status = command["count"]
    return {"count": colony.count(path, status=status)}


def main() -> None:
    near, seed = int(sys.argv[1]), int(sys.argv[2])
    try:
        wire = Wire(near, device(FAR), seed)
    except Impossible as reason:
        print(json.dumps({"impossible": str(reason)}), flush=True)
        return
    threading.Thread(target=wire.run, daemon=True).start()
    with FakeColony(host=FAR) as colony:
        print(json.dumps({"base_url": colony.base_url}), flush=True)
        for line in sys.stdin:
            print(json.dumps(_obey(colony, wire, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

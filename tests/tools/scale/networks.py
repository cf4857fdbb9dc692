"""Networks of processes' own (Linux namespaces): a hub, with a server or two, and a wire from each process to it.

The hub is the namespace of whoever calls ``make_hub``, with a bridge in it. A process that wants a wire says so on
its stdout with ``APART`` as soon as it is in a namespace of its own, and hears on its stdin when the wire is there.
"""

from __future__ import annotations

import subprocess
import sys

from tests.support.namespaces import NEWNET, run, unshare
from tests.support.netns import require_ip

HUB = "10.78.0.1"
APART = "apart"
_BRIDGE, _WIRE = "hub", "wire"
# Its own for good: else a bridge has the lowest address of its wires. When the process at the end of that one ended,
# the others sent to the address that was, and nothing arrived, for half a minute.
_BRIDGE_MAC = "02:00:0a:4e:00:01"


def address(number: int) -> str:
    """Address of process ``number``, from 0."""
    return f"10.78.0.{number + 2}"


def make_hub() -> None:
    """Move this thread, and what it starts, into a network of its own whose address is ``HUB``."""
    require_ip()
    unshare(NEWNET)
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", _BRIDGE, "address", _BRIDGE_MAC, "type", "bridge")
    run("ip", "address", "add", f"{HUB}/24", "dev", _BRIDGE)
    run("ip", "link", "set", _BRIDGE, "up")


def connect(process: subprocess.Popen[str], number: int) -> None:
    """Lay the wire from the hub to ``process``, which is about to ``join_network``."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert f"{APART}\n" == process.stdout.readline()
    port = f"port{number}"
    run("ip", "link", "add", port, "type", "veth", "peer", "name", _WIRE, "netns", str(process.pid))
    run("ip", "link", "set", port, "master", _BRIDGE, "up")
    process.stdin.write("connected\n")
    process.stdin.flush()


def join_network(own: str) -> None:
    """Move this thread, and what it starts, into a network of its own with a wire to the hub."""
    unshare(NEWNET)
    print(APART, flush=True)
    sys.stdin.readline()
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{own}/24", "dev", _WIRE)
    run("ip", "link", "set", _WIRE, "up")

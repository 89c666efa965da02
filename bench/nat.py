# SPDX-License-Identifier: MIT
"""Rows: TCP of a guest through a NAT to a server on the host. The guest is a kernel's network stack in a
namespace of its own; what it sends into its tap goes to the NAT."""

import functools
import json
import os
import re
import subprocess
import sys
import tempfile

import tap  # finds network.py
from card import MAC, Daemon
from children import Child, ChildFailed
from network import Network
from window import CPU_SHARE, GBITS, Row, Side, Window, program

GUEST, GATEWAY, TAP = "10.0.2.15", "10.0.2.2", "tap0"
SECONDS = 2.0
SETTLE = 4
IDLE_PORT = 5300
NOTE = ("NAT: iperf3, one connection, MTU 1500; four or five processes share two CPUs, so vionic does not poll\n"
        "(its default). For vionic the guest is a kernel behind a small program that is the driver\n"
        "(bench/load/pump.c): one copy and one process more than slirp4netns and passt have.\n"
        "Idle flows: connections that were opened through the same NAT and carry nothing.")

# Opens connections and keeps them until its input ends.
HOLD_FLOWS = """
import socket, sys
flows = [socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30) for _ in range(int(sys.argv[3]))]
print("held", flush=True)
sys.stdin.read()
"""

# Takes connections and never answers.
TAKE_FLOWS = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (16384, 16384))
server = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
print("taking", flush=True)
taken = []
while True:
    taken.append(server.accept()[0])
"""


class NatSide(Side):
    """Base: the host's network with a server in it, and the guest's with a client."""

    needs = ("iperf3",)

    def __init__(self, direction, flows, context):
        self.direction = direction  # "up": from the guest, or "down"
        self.flows = flows
        self.context = context
        self.host = self.guest = None
        self._children = []

    def child(self, network, *words, ready=None):
        child = Child([*(network.prefix if network else ()), *words])
        self._children.append(child)
        if ready:
            child.read_until(re.compile(ready), 0, 30)
        return child

    def start(self):
        self.host, self.guest = Network(), Network()
        self.child(self.host, "iperf3", "-s", "--forceflush", ready="listening")
        self.child(self.host, sys.executable, "-c", TAKE_FLOWS, str(IDLE_PORT), ready="taking")

    def set_address(self):
        self.guest.bring_up(TAP, f"{GUEST}/24")

    def hold_flows(self):
        if self.flows:
            self.child(self.guest, sys.executable, "-c", HOLD_FLOWS, GATEWAY, str(IDLE_PORT),
                       str(self.flows), ready="held")

    def window(self, seconds):
        words = ["iperf3", "-c", GATEWAY, "-t", str(seconds), "-J", *(["-R"] if self.direction == "down"
                                                                       else [])]
        cpu = self.nat_cpu_ns()
        done = subprocess.run([*self.guest.prefix, *words], capture_output=True, text=True, timeout=60,
                              check=False)
        cpu = self.nat_cpu_ns() - cpu
        answer = json.loads(done.stdout or "{}")
        if done.returncode != 0 or "end" not in answer:
            raise ChildFailed(f"{self.name}: iperf3: {answer.get('error', done.stderr)}")
        rate = answer["end"]["sum_received"]["bits_per_second"] / 1e9
        return Window({GBITS.name: rate, CPU_SHARE.name: cpu / seconds / 1e7})

    def nat_cpu_ns(self):
        raise NotImplementedError

    def stop(self):
        for child in reversed(self._children):
            child.kill()
        for network in (self.guest, self.host):
            if network:
                network.close()


class Vionic(NatSide):
    """`endpoint` with PASST for the path of passt's socket."""

    name = "vionic"
    _daemon = None

    def __init__(self, endpoint, direction, flows, context):
        super().__init__(direction, flows, context)
        self._endpoint = endpoint
        self.needs += ("passt",) if "PASST" in endpoint else ()

    def start(self):
        super().start()
        endpoint = self._endpoint
        if "PASST" in endpoint:
            endpoint = endpoint.replace("PASST", start_passt(self))
        self._daemon = Daemon(self.context, [f"socket=SOCKET,mac={MAC},endpoint={endpoint}"],
                              self.host.prefix, poll=())

    def wait_until_ready(self):
        self._daemon.wait_until_ready()
        self.guest.add_tap(TAP)
        self.child(self.guest, program("pump"), "card", self._daemon.sockets[0], TAP, ready="ready")
        self.set_address()
        self.hold_flows()

    def nat_cpu_ns(self):
        return self._daemon.child.cpu_ns()

    def stop(self):
        if self._daemon:
            self._daemon.stop()
        super().stop()


class Slirp4netns(NatSide):
    name = "slirp4netns"
    needs = ("iperf3", "slirp4netns")

    def wait_until_ready(self):
        # It has to be in the host's network and is told the guest's by a path that both see.
        holder = self.guest.prefix[self.guest.prefix.index("--target") + 1]
        self._nat = self.child(self.host, "slirp4netns", "--mtu=1500", holder, TAP,
                               ready="Starting slirp|received tapfd|\\* Gateway")
        deadline = 50
        while deadline and subprocess.run([*self.guest.prefix, "ip", "link", "show", TAP],
                                          capture_output=True, check=False).returncode:
            subprocess.run(["sleep", "0.1"], check=False)
            deadline -= 1
        self.guest.bring_up(TAP, "10.0.2.100/24")
        self.hold_flows()

    def nat_cpu_ns(self):
        return self._nat.cpu_ns()


def start_passt(side):
    """passt takes its network from an interface with a default route; gives up being root, and makes
    its socket as somebody else. The socket's path."""
    side.host.run("ip", "tuntap", "add", "uplink0", "mode", "tap")
    side.host.bring_up("uplink0", f"{GUEST}/24")
    side.host.run("ip", "route", "add", "default", "via", GATEWAY, "dev", "uplink0")
    folder = tempfile.mkdtemp(prefix="passt-", dir=side.context.folder)
    os.chmod(folder, 0o777)
    os.chmod(side.context.folder, 0o711)
    socket = os.path.join(folder, "passt.sock")
    side.passt = side.child(side.host, "passt", "-f", "-e", "-4", "-m", "1500", "-s", socket)
    for _ in range(100):
        if os.path.exists(socket):
            return socket
        subprocess.run(["sleep", "0.1"], check=False)
    raise ChildFailed(f"passt made no socket: {side.passt.output}")


class Passt(NatSide):
    name = "passt"
    needs = ("iperf3", "passt")

    def start(self):
        super().start()
        self._socket = start_passt(self)

    def wait_until_ready(self):
        self.guest.run("ip", "tuntap", "add", "dev", TAP, "mode", "tap")
        self.child(self.guest, program("pump"), "stream", self._socket, TAP, ready="ready")
        self.set_address()
        self.hold_flows()

    def nat_cpu_ns(self):
        return self.passt.cpu_ns()


def row(direction, flows):
    bar = "" if flows else f">= {5 if direction == 'up' else 2}"
    return Row(f"NAT {direction}, {flows} idle flows",
               (functools.partial(Vionic, "user", direction, flows),
                functools.partial(Slirp4netns, direction, flows)), (GBITS, CPU_SHARE), bar,
               seconds=SECONDS, classed=False, starts=1, windows=4, quick=direction == "up" and not flows,
               settle=SETTLE)


def stream_row(direction):
    return Row(f"NAT {direction}, stream to passt",
               (functools.partial(Vionic, "stream:path=PASST", direction, 0),
                functools.partial(Passt, direction, 0)), (GBITS, CPU_SHARE), ">= 0.9",
               seconds=SECONDS, classed=False, starts=1, windows=4, settle=SETTLE)


ROWS = ([row(direction, flows) for direction in ("up", "down") for flows in (0, 100, 1000)] +
        [stream_row(direction) for direction in ("up", "down")])

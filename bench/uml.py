# SPDX-License-Identifier: MIT
"""Rows: a whole guest, User Mode Linux, on a tap of the host: through vionic, and through testpmd between DPDK's
vhost and its tap driver. The back-end has one CPU, the guest and the host's programs have the other."""

import functools
import json
import os
import re
import statistics
import sys
import time

import tap  # finds network.py
from card import Daemon
from children import Child, ChildFailed
from feature_proxy import HIDDEN_FEATURES, FeatureProxy
from network import Network
from testpmd import Testpmd
from window import (BACK_END_CPU, CPU_SHARE, FRONT_END_CPU, GBITS, TREE, Metric, Row, Side, Window)

sys.path.append(os.path.join(TREE, "tests", "guests"))
from guest import UmlGuest  # pylint: disable=wrong-import-position

MAC, TAP = "52:54:00:00:00:07", "tap0"
HOST, GUEST = "10.9.0.1", "10.9.0.2"
ECHO_PORT = 5400
PINGS = 100
PING_PAUSE = 0.005
TRIPS = Metric("round trips/s", 0, +1)
MEDIAN = Metric("p50, us", 0, -1)
MOST = Metric("p99, us", 0, -1)
NOTE = ("UML: TCP is one connection of iperf3; RR asks for one byte and waits for it, from the host; ping is from\n"
        "the guest, every 5 ms. vionic may sleep after 100 us without a frame, DPDK never does.")

# Asks for a byte again and again, for so many seconds a line of its input; answers round trips a second and the
# quantiles in us.
ASK_BYTES = """
import socket, sys, time
asked = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
asked.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
def trip():
    begin = time.perf_counter_ns()
    asked.sendall(b"?")
    if not asked.recv(1):
        sys.exit("the guest hung up")
    return time.perf_counter_ns() - begin
trip()
print("ready", flush=True)
for line in sys.stdin:
    begin, took = time.perf_counter(), []
    while time.perf_counter() - begin < float(line):
        took.append(trip())
    rate = len(took) / (time.perf_counter() - begin)
    took.sort()
    print(rate, took[len(took) // 2] / 1e3, took[len(took) * 99 // 100] / 1e3, flush=True)
"""


class UmlSide(Side):
    """Base: the guest, and what runs in it and beside it. `kind` is a key of KINDS."""

    needs = ("linux.uml", "iperf3")

    def __init__(self, kind, context):
        self.kind = kind
        self.context = context
        self.network = self._guest = None
        self._children = []

    def start(self):
        self.network = Network()
        self.start_back_end()

    def wait_until_ready(self):
        path = self.socket_when_ready()
        self.network.bring_up(TAP, f"{HOST}/24")
        self._guest = guest_on_cpu(FRONT_END_CPU, path)
        self._guest.wait_until_ready()
        self.begin()
        self._guest.check(f"ip address add {GUEST}/24 dev eth0 && ip link set eth0 up")
        self._guest.check(f"for i in 1 2 3 4 5 6 7 8 9; do ping -q -c 1 -W 1 {HOST} && break; done", 20)
        KINDS[self.kind].prepare(self)
        self.end()

    def window(self, seconds):
        self.begin()
        try:
            before = self.clocks()
            figures = KINDS[self.kind].measure(self, seconds)
            wall, cpu = [end - begin for begin, end in zip(before, self.clocks())]
            return Window({**figures, CPU_SHARE.name: 100 * cpu / wall})
        finally:
            self.end()

    def clocks(self):
        return time.monotonic_ns(), self.back_end_child().cpu_ns()

    def child(self, *words, ready):
        child = Child([*self.network.prefix, *words], {FRONT_END_CPU})
        self._children.append(child)
        child.read_until(re.compile(ready), 0, 30)
        return child

    def in_guest(self, command, timeout=60):
        return self._guest.check(command, timeout)

    def stop(self):
        for child in self._children:
            child.kill()
        if self._guest:
            self._guest.kill()
        self.stop_back_end()
        if self.network:
            self.network.close()

    # For subclasses.

    def start_back_end(self):
        raise NotImplementedError

    def socket_when_ready(self):
        """What the guest connects to."""
        raise NotImplementedError

    def back_end_child(self):
        raise NotImplementedError

    def begin(self):
        """Makes the back-end forward."""

    def end(self):
        """Makes it idle."""

    def stop_back_end(self):
        raise NotImplementedError


def guest_on_cpu(cpu, path):
    """A guest stays where it was started."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        return UmlGuest([path])
    finally:
        os.sched_setaffinity(0, ours)


class Vionic(UmlSide):
    name = "vionic"
    _daemon = None

    def start_back_end(self):
        self._daemon = Daemon(self.context, [f"socket=SOCKET,mac={MAC},endpoint=tap:ifname={TAP}"],
                              self.network.prefix)

    def socket_when_ready(self):
        self._daemon.wait_until_ready()
        return self._daemon.sockets[0]

    def back_end_child(self):
        return self._daemon.child

    def stop_back_end(self):
        if self._daemon:
            self._daemon.stop()


class DpdkTap(UmlSide):
    name = "DPDK vhost + tap"
    needs = ("linux.uml", "iperf3", "dpdk-testpmd")
    _back_end = None

    def start_back_end(self):
        number = next(self.context.numbers)
        self._socket = os.path.join(self.context.folder, f"d{number}.sock")
        self._back_end = Testpmd(BACK_END_CPU, [f"net_vhost0,iface={self._socket},queues=1",
                                                f"net_tap0,iface={TAP}"], self.context.memory, 1024,
                                 ("--port-topology=paired",), self.network.prefix)

    def socket_when_ready(self):
        self._back_end.wait_until_ready()
        self._back_end.command("set fwd io")
        FeatureProxy(self._socket + ".guest", self._socket, HIDDEN_FEATURES)
        return self._socket + ".guest"

    def back_end_child(self):
        return self._back_end.child

    def begin(self):
        self._back_end.command("start")

    def end(self):
        self._back_end.command("stop")

    def stop_back_end(self):
        if self._back_end:
            self._back_end.kill()


# ---- what the guest does ------------------------------------------------------------------------


class Tcp:
    """iperf3 from the guest, or with -R to it."""

    def __init__(self, option):
        self._option = option

    def prepare(self, side):
        side.child("iperf3", "-s", "--forceflush", ready="listening")

    def measure(self, side, seconds):
        answer = side.in_guest(f"iperf3 -J -c {HOST} -t {seconds} {self._option}", seconds + 30)
        return {GBITS.name: json.loads(answer)["end"]["sum_received"]["bits_per_second"] / 1e9}


class RoundTrips:
    def prepare(self, side):
        side.in_guest(f"nc -ll -p {ECHO_PORT} -e cat >/dev/null 2>&1 &")
        side.in_guest(f"until netstat -ltn | grep -q :{ECHO_PORT}; do sleep 0.1; done")
        side.asker = side.child(sys.executable, "-c", ASK_BYTES, GUEST, str(ECHO_PORT), ready="ready\n")

    def measure(self, side, seconds):
        return dict(zip((TRIPS.name, MEDIAN.name, MOST.name), side.asker.ask(seconds)))


class Ping:
    def prepare(self, side):
        pass

    def measure(self, side, _seconds):
        text = side.in_guest(f"ping -c {PINGS} -i {PING_PAUSE} -W 1 {HOST}")
        took = sorted(float(ms) * 1000 for ms in re.findall(r"time=([\d.]+) ms", text))
        if len(took) < PINGS * 0.9:
            raise ChildFailed(f"{side.name}: {len(took)} of {PINGS} pings came back")
        return {MEDIAN.name: statistics.median(took), MOST.name: took[len(took) * 99 // 100]}


KINDS = {"TCP from the guest": Tcp(""), "TCP to the guest": Tcp("-R"), "RR": RoundTrips(), "ping": Ping()}


def row(kind, metrics, bar, seconds, quick=False):
    return Row(f"UML {kind}", (functools.partial(Vionic, kind), functools.partial(DpdkTap, kind)),
               (*metrics, CPU_SHARE), bar, seconds=seconds, classed=False, starts=1, windows=4, settle=8,
               quick=quick)


ROWS = [row("TCP from the guest", (GBITS,), ">= 1.0", 2, quick=True),
        row("TCP to the guest", (GBITS,), ">= 1.0", 2),
        row("RR", (TRIPS, MEDIAN, MOST), "", 1),
        row("ping", (MEDIAN, MOST), "", 1)]

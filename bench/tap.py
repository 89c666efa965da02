# SPDX-License-Identifier: MIT
"""Rows: vionic between a driver and a tap, and the limit: a bare loop of reads or writes on such a tap."""

import functools
import os
import re
import sys

from card import MAC, Daemon
from children import Child
from window import (BACK_END_CPU, CPU_SHARE, CYCLES, FRONT_END_CPU, GBITS, MPPS, TREE, Row, Side, Window,
                    program)

sys.path.append(os.path.join(TREE, "tests", "integration"))
from network import Network  # pylint: disable=wrong-import-position

TAP = "tap0"
GSO = 65226  # bytes: a frame of 45 segments
NOTE = ("to-tap, from-tap: the driver and the sender of frames share a CPU, the back-end has the other; from-tap, the\n"
        "sender is the bottleneck, so that frames a second say little and cycles are what differs. The\n"
        "limit is a loop of writev or readv alone, on memory of its own that is laid out as the guest's buffers are.\n"
        "Several pairs: it has as many queues of the tap and goes from one to the next, as the one worker does; the\n"
        "guest sends a flow a pair, and is sent 64 flows. The loop calls the C library, which vionic does not: it may win\n"
        "(ARCHITECTURE, \"Why it is fast\").")


class TapSide(Side):
    """Base: a network namespace with a tap in it."""

    def __init__(self, direction, length, pairs, context):
        self.direction = direction  # "send" or "receive", as the guest sees it
        self.length = length
        self.pairs = pairs
        self.context = context
        self._network = None
        self._load = None

    def start(self):
        self._network = Network()
        self._network.add_tap(TAP, *(["multi_queue"] if self.pairs > 1 else []))
        self._network.bring_up(TAP)

    def start_load(self, *words):
        self._load = Child([*self._network.prefix, *words], {BACK_END_CPU, FRONT_END_CPU})
        self._load.read_until(re.compile("ready\n"), 0, 20)

    def figures(self, frames, seconds, busy_ns):
        rate = frames / seconds
        return {MPPS.name: rate / 1e6, GBITS.name: rate * self.length * 8 / 1e9,
                CYCLES.name: busy_ns * self.context.tsc_hz / 1e9 / max(frames, 1)}

    def stop(self):
        if self._load:
            self._load.kill()
        if self._network:
            self._network.close()


class Vionic(TapSide):
    name = "vionic"
    _daemon = None

    def start(self):
        super().start()
        self._daemon = Daemon(self.context, [f"socket=SOCKET,mac={MAC},queues={self.pairs},endpoint=tap:ifname={TAP}"],
                              self._network.prefix)

    def wait_until_ready(self):
        self._daemon.wait_until_ready()
        self.start_load("taskset", "-c", str(FRONT_END_CPU), program("load"), self.direction,
                        self._daemon.sockets[0], *self.load_options())

    def load_options(self):
        """Of bench/load, behind the socket."""
        return [str(self.length), str(self.pairs), *([TAP] if self.direction == "receive" else [])]

    def window(self, seconds):
        before, waited = self._clocks(), self._waited_ns()
        frames, _, took = self._load.ask(seconds)
        waited = self._waited_ns() - waited  # at once: what asks the daemon takes a CPU too
        busy, cpu, counted = [end - begin for begin, end in zip(before, self._clocks())]
        figures = self.figures(frames, took, busy * frames / max(counted, 1))
        return Window({**figures, CPU_SHARE.name: cpu / took / 1e7}, waited / took / 1e9)

    def _clocks(self):
        child = self._daemon.child
        counter = "tx_packets" if self.direction == "send" else "rx_packets"
        counted = sum(pair[counter] for pair in self._daemon.inspect("nic0/queues").values())
        return self._daemon.busy()[0], child.cpu_ns(), counted

    def _waited_ns(self):
        return self._daemon.child.waited_ns() + self._load.waited_ns()

    def stop(self):
        if self._daemon:
            self._daemon.stop()
        super().stop()


class BareLoop(TapSide):
    name = "bare loop"

    def wait_until_ready(self):
        mode = ["write"] if self.direction == "send" else ["read"]
        cpus = [str(BACK_END_CPU)] + ([str(FRONT_END_CPU)] if mode == ["read"] else [])
        self.start_load(program("tap_loop"), TAP, *mode, str(self.length), str(self.pairs), *cpus)

    def window(self, seconds):
        waited = self._load.waited_ns()
        frames, busy, took = self._load.ask(seconds)
        waited = self._load.waited_ns() - waited
        return Window({**self.figures(frames, took, busy), CPU_SHARE.name: 100.0}, waited / took / 1e9)


def row(direction, length, pairs=1):
    name = "to-tap" if direction == "send" else "from-tap"
    several = f", {pairs} pairs" if pairs > 1 else ""
    rate = GBITS if length == GSO else MPPS
    return Row(f"{name} {'64K GSO' if length == GSO else length}{several}",
               (functools.partial(Vionic, direction, length, pairs),
                functools.partial(BareLoop, direction, length, pairs)),
               (rate, CYCLES, CPU_SHARE), "cycles <= 1.15",
               quick=direction == "send" and length != 1514 and pairs == 1)


ROWS = ([row(direction, length) for direction in ("send", "receive") for length in (64, 1514, GSO)] +
        [row(direction, 64, pairs) for direction in ("send", "receive") for pairs in (2, 8)])

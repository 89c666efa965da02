# SPDX-License-Identifier: MIT
"""Rows: vionic between a driver and a tap, and the limit: a bare loop of reads or writes on such a tap."""

import functools
import os
import re
import sys

from card import MAC, Daemon
from children import Child
from driven import Case
from driven import Vionic as DrivenVionic
from window import (BACK_END_CPU, CPU_SHARE, CYCLES, FRONT_END_CPU, GBITS, MPPS, TREE, Row, Side, Window,
                    program)

sys.path.append(os.path.join(TREE, "tests", "integration"))
from network import Network  # pylint: disable=wrong-import-position

TAP = "tap0"
GSO = 65226  # bytes: a frame of 45 segments
NOTE = ("to-tap, from-tap: the driver and the sender of frames share a CPU, the back-end has the other. The\n"
        "limit is a loop of writev or readv alone, on memory of its own that is laid out as the guest's buffers are;\n"
        "beside several pairs too it has one queue.")


class TapSide(Side):
    """Base: a network namespace with a tap in it."""

    def __init__(self, direction, length, context):
        self.direction = direction  # "send" or "receive", as the guest sees it
        self.length = length
        self.context = context
        self._network = None
        self._load = None

    def start(self):
        self._network = Network()
        self._network.add_tap(TAP)
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
        self._daemon = Daemon(self.context, [f"socket=SOCKET,mac={MAC},endpoint=tap:ifname={TAP}"],
                              self._network.prefix)

    def wait_until_ready(self):
        self._daemon.wait_until_ready()
        self.start_load("taskset", "-c", str(FRONT_END_CPU), program("load"), self.direction,
                        self._daemon.sockets[0], str(self.length), TAP)

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
        counted = self._daemon.inspect("nic0/queues/0")[counter]
        return self._daemon.busy()[0], child.cpu_ns(), counted

    def _waited_ns(self):
        return self._daemon.child.waited_ns() + self._load.waited_ns()

    def stop(self):
        if self._daemon:
            self._daemon.stop()
        super().stop()


class Pairs(DrivenVionic):
    """A tap of several queues, all of them busy; the driver is DPDK's."""

    _network = None

    def start_back_end(self):
        self._network = Network()
        self._network.add_tap(TAP, "multi_queue")
        self._network.bring_up(TAP)
        self.prefix = self._network.prefix
        super().start_back_end()

    def stop_back_end(self):
        super().stop_back_end()
        if self._network:
            self._network.close()


class BareLoop(TapSide):
    name = "bare loop"

    def wait_until_ready(self):
        mode = ["write"] if self.direction == "send" else ["read"]
        cpus = [str(BACK_END_CPU)] + ([str(FRONT_END_CPU)] if mode == ["read"] else [])
        self.start_load(program("tap_loop"), TAP, *mode, str(self.length), *cpus)

    def window(self, seconds):
        waited = self._load.waited_ns()
        frames, busy, took = self._load.ask(seconds)
        waited = self._load.waited_ns() - waited
        return Window({**self.figures(frames, took, busy), CPU_SHARE.name: 100.0}, waited / took / 1e9)


def row(direction, length):
    name = "to-tap" if direction == "send" else "from-tap"
    rate = GBITS if length == GSO else MPPS
    return Row(f"{name} {'64K GSO' if length == GSO else length}",
               (functools.partial(Vionic, direction, length),
                functools.partial(BareLoop, direction, length)),
               (rate, CYCLES, CPU_SHARE), "cycles <= 1.15",
               quick=direction == "send" and length != 1514)


def pairs_row(pairs):
    nic = (MAC, f"queues={pairs},queue-size=1024,endpoint=tap:ifname={TAP}")
    case = Case(64, (nic,), "packed_vq=0,mrg_rxbuf=1,in_order=0,vectorized=0", "txonly", "Tx", "", pairs=pairs)
    return Row(f"to-tap 64, {pairs} pairs",
               (functools.partial(Pairs, case), functools.partial(BareLoop, "send", 64)),
               (MPPS, CYCLES, CPU_SHARE), "cycles <= 1.15")


ROWS = ([row(direction, length) for direction in ("send", "receive") for length in (64, 1514, GSO)] +
        [pairs_row(pairs) for pairs in (2, 8)])

# SPDX-License-Identifier: MIT
"""Rows: how long a frame takes. From the kick to the completion, against DPDK's vhost which never sleeps;
and from a frame on the host's interface to the driver's interrupt. Looking on, and asleep."""

import functools
import os
import re

import tap
from card import MAC, Daemon
from children import Child
from testpmd import Testpmd
from window import BACK_END_CPU, FRONT_END_CPU, Metric, Row, Side, Window, program

SPINNING, ASLEEP = 20, 1000  # us between two frames: less, and more, than vionic looks on
NAMES = ("p50, us", "p99, us", "p99.9, us")
METRICS = tuple(Metric(name, 1, -1) for name in NAMES)
NOTE = ("kick: a frame is added, the device told if it wants that, and its completion waited for. interrupt: a\n"
        "frame is put on the tap, and the driver sleeps until its call fd is readable.")


def figures(load, seconds):
    """One window of a load that tells its count and quantiles in ns."""
    waited = load.waited_ns()
    answer = load.ask(seconds)
    waited = load.waited_ns() - waited
    return Window({name: ns / 1000 for name, ns in zip(NAMES, answer[1:])}, waited / seconds / 1e9)


class KickSide(Side):
    """Base: the driver."""

    def __init__(self, pause, context):
        self.pause = pause
        self.context = context
        self._load = None

    def start_load(self, socket):
        self._load = Child([program("load"), "kick", socket, str(self.pause)], {FRONT_END_CPU})
        self._load.read_until(re.compile("ready\n"), 0, 20)

    def window(self, seconds):
        return figures(self._load, seconds)

    def stop(self):
        if self._load:
            self._load.kill()


class VionicKick(KickSide):
    name = "vionic"
    _daemon = None

    def start(self):
        self._daemon = Daemon(self.context, [f"socket=SOCKET,mac={MAC},endpoint=null"])

    def wait_until_ready(self):
        self._daemon.wait_until_ready()
        self.start_load(self._daemon.sockets[0])

    def stop(self):
        super().stop()
        if self._daemon:
            self._daemon.stop()


class DpdkKick(KickSide):
    name = "DPDK vhost"
    needs = ("dpdk-testpmd",)
    _back_end = None
    _socket = ""

    def start(self):
        self._socket = os.path.join(self.context.folder, f"d{next(self.context.numbers)}.sock")
        self._back_end = Testpmd(BACK_END_CPU, [f"net_vhost0,iface={self._socket},queues=1"],
                                 self.context.memory, 256)

    def wait_until_ready(self):
        self._back_end.wait_until_ready()
        self._back_end.command("set fwd rxonly")
        self.start_load(self._socket)

    def window(self, seconds):
        self._back_end.command("start")
        try:
            return super().window(seconds)
        finally:
            self._back_end.stop_forwarding()

    def stop(self):
        super().stop()
        if self._back_end:
            self._back_end.kill()
        if os.path.exists(self._socket):
            os.unlink(self._socket)


class VionicInterrupt(tap.Vionic):
    """The same NIC as in the tap rows, another load."""

    def __init__(self, pause, context):
        super().__init__("interrupt", pause, 1, context)  # in the place of a length

    def load_options(self):
        return [str(self.length), tap.TAP]

    def window(self, seconds):
        return figures(self._load, seconds)


ROWS = [
    Row("kick to completion, looking on",
        (functools.partial(VionicKick, SPINNING), functools.partial(DpdkKick, SPINNING)), METRICS,
        "p99 within 3 round trips of a cache line", starts=1, quick=True),
    Row("kick to completion, asleep", (functools.partial(VionicKick, ASLEEP),), METRICS, starts=1,
        seconds=0.5),
    Row("frame to interrupt, looking on", (functools.partial(VionicInterrupt, SPINNING),), METRICS,
        starts=1, quick=True),
    Row("frame to interrupt, asleep", (functools.partial(VionicInterrupt, ASLEEP),), METRICS, starts=1,
        seconds=0.5),
]

# SPDX-License-Identifier: MIT
"""Rows: two guests (the two ports of one virtio-user front-end) through vionic's switch, and through
testpmd between two DPDK vhost ports. What a guest gets, it sends to the other again: frames go round.
DPDK's driver knows no frames of 64 KB: there, a load of ours is the two guests, and they go one way."""

import functools
import os
import re
import time

from card import Daemon
from children import Child, ChildFailed
from driven import METRICS, Case, DpdkVhost, Vionic
from testpmd import Testpmd
from window import (BACK_END_CPU, CPU_SHARE, CYCLES, FRONT_END_CPU, GBITS, Row, Side, Window, program)

MACS = ["52:54:00:00:00:01", "52:54:00:00:00:02"]
# What the load sends from, and to (load_frame_make).
LOAD_MACS = ["52:54:00:00:00:99", "52:54:00:ff:ff:ff"]
GSO = 65226  # bytes: a frame of 45 segments
PAIRED = ("--port-topology=paired",)
JUMBO = ("--mbuf-size=10240", "--max-pkt-len=9500")
NOTE = ("guest-to-guest: frames that arrived at both guests. One front-end process on one CPU is both of\n"
        "them, and the bottleneck at 64 bytes: cycles show the difference. 64K GSO: from one to the other, whole.")


def row(length):
    large = JUMBO if length > 1518 else ()
    nics = tuple((mac, "mtu=9500,queue-size=1024,endpoint=switch:name=lan0") for mac in MACS)
    peers = (f"--eth-peer=0,{MACS[1]}", f"--eth-peer=1,{MACS[0]}")
    case = Case(length, nics, "packed_vq=0,mrg_rxbuf=1,in_order=0,vectorized=0", "io", "Rx", "io",
                "start tx_first 8", front_end_options=(*PAIRED, *peers, *large), dpdk_options=(*PAIRED, *large),
                may_drop=True)
    return Row(f"guest-to-guest {length}",
               (functools.partial(Vionic, case), functools.partial(DpdkVhost, case)), METRICS,
               "packets >= 1.5, cycles <= 0.4" if length > 1000 else "", quick=length == 1518)


class Passing(Side):
    """Base: the guests, and the course of a window."""

    def __init__(self, context):
        self.context = context
        self.sockets = []
        self._guests = None

    def start_guests(self):
        self._guests = Child([program("load"), "pass", self.sockets[0], str(GSO), self.sockets[1]],
                             {FRONT_END_CPU})
        self._guests.read_until(re.compile("ready\n"), 0, 20)

    def measure(self, seconds, back_end):
        """Frames that arrived, and a window that lacks their cycles."""
        before = time.monotonic_ns(), back_end.cpu_ns(), back_end.waited_ns() + self._guests.waited_ns()
        frames, arrived, took = self._guests.ask(seconds)
        after = time.monotonic_ns(), back_end.cpu_ns(), back_end.waited_ns() + self._guests.waited_ns()
        wall, cpu, waited = [end - begin for begin, end in zip(before, after)]
        if not frames or arrived != frames * GSO:
            raise ChildFailed(f"{self.name}: {frames} frames arrived with {arrived} bytes")
        return Window({GBITS.name: arrived * 8 / took / 1e9, CPU_SHARE.name: 100 * cpu / wall}, waited / wall)

    def stop(self):
        if self._guests:
            self._guests.kill()


class VionicPassing(Passing):
    name = "vionic"
    _daemon = None

    def start(self):
        self._daemon = Daemon(self.context, [f"socket=SOCKET,mac={mac},endpoint=switch:name=lan0"
                                             for mac in LOAD_MACS])
        self.sockets = self._daemon.sockets

    def wait_until_ready(self):
        self._daemon.wait_until_ready()
        self.start_guests()

    def window(self, seconds):
        busy, _ = self._daemon.busy()
        frames = self._frames()
        made = self.measure(seconds, self._daemon.child)
        busy = self._daemon.busy()[0] - busy
        made.figures[CYCLES.name] = busy * self.context.tsc_hz / 1e9 / (self._frames() - frames)
        return made

    def _frames(self):
        return self._daemon.inspect("nic1/queues/0")["rx_packets"]

    def stop(self):
        super().stop()
        if self._daemon:
            self._daemon.stop()


class DpdkPassing(Passing):
    name = "DPDK vhost"
    needs = ("dpdk-testpmd",)
    _back_end = None

    def start(self):
        number = next(self.context.numbers)
        self.sockets = [os.path.join(self.context.folder, f"d{number}.{i}.sock") for i in range(2)]
        devices = [f"net_vhost{i},iface={socket},queues=1,tso=1,legacy-ol-flags=1"
                   for i, socket in enumerate(self.sockets)]
        self._back_end = Testpmd(BACK_END_CPU, devices, self.context.memory, 256, PAIRED)

    def wait_until_ready(self):
        self._back_end.wait_until_ready()
        self._back_end.command("set fwd io")
        self._back_end.command("set record-core-cycles on")
        self.start_guests()

    def window(self, seconds):
        self._back_end.command("start")
        made = self.measure(seconds, self._back_end.child)
        cycles, frames = self._back_end.stop_forwarding()
        made.figures[CYCLES.name] = cycles / max(frames, 1)
        return made

    def stop(self):
        super().stop()
        if self._back_end:
            self._back_end.kill()
        for socket in filter(os.path.exists, self.sockets):
            os.unlink(socket)


ROWS = [row(length) for length in (64, 1518, 9000)]
ROWS.append(Row("guest-to-guest 64K GSO", (VionicPassing, DpdkPassing), (GBITS, CYCLES, CPU_SHARE),
                "Gbit/s >= 1.0", quick=True))

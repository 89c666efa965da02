# SPDX-License-Identifier: MIT
"""Rows: what many NICs in one daemon cost, and what they do to one that is busy."""

import functools
import re
import time

from card import Daemon
from children import Child
from window import CYCLES, FRONT_END_CPU, MPPS, Metric, Row, Side, Window, program

COUNTS = [1, 8, 64, 256]
IDLE = Metric("CPU idle, %", 3, -1)
MEMORY = Metric("KiB a NIC", 0, -1)
START = Metric("start, ms", 0, -1)
ATTACH = Metric("attach, ms/NIC", 2, -1)
IDLE_SECONDS = 1.0
NOTE = ("NICs: memory is what the daemon's resident memory grows by for each NIC with a guest at it, its rings\n"
        "(256 entries) left out, since they lie in the guest's memory. busy: one guest sends, the others idle.")


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        words = dict(line.split(":", 1) for line in status)
    return int(words["RssAnon"].split()[0])


class Many(Side):
    """`count` NICs with a guest each; the first guest is the one that may be busy."""

    name = "vionic"

    def __init__(self, count, context):
        self.count = count
        self.context = context
        self._daemon = self._guests = self._busy = None

    def start(self):
        nics = [f"socket=SOCKET,mac=52:54:00:00:{i // 256:02x}:{i % 256:02x},endpoint=null"
                for i in range(self.count)]
        self._daemon = Daemon(self.context, nics)

    def wait_until_ready(self):
        self._start_ms = self._daemon.wait_until_ready() * 1000
        first, *others = self._daemon.sockets
        self._attach_ms = 0.0
        if others:
            self._guests = Child([program("load"), "attach", *others], {FRONT_END_CPU})
            text = self._guests.read_until(re.compile(r"\d+ 0 [\d.]+\n"), 0, 60)
            self._attach_ms = float(text.split()[2]) * 1000 / len(others)
        self._busy = Child([program("load"), "send", first, "64", "1"], {FRONT_END_CPU})
        self._busy.read_until(re.compile("ready\n"), 0, 20)

    @property
    def pid(self):
        return self._daemon.child.pid

    def stop(self):
        for child in (self._busy, self._guests):
            if child:
                child.kill()
        if self._daemon:
            self._daemon.stop()


class Busy(Many):
    def __init__(self, count, context):
        super().__init__(count, context)
        self.name = "vionic" if count > 1 else "1 NIC"

    def window(self, seconds):
        before = self._daemon.child.cpu_ns()
        waited = self._daemon.child.waited_ns() + self._busy.waited_ns()
        frames, _, took = self._busy.ask(seconds)
        waited = self._daemon.child.waited_ns() + self._busy.waited_ns() - waited
        cpu = self._daemon.child.cpu_ns() - before
        return Window({MPPS.name: frames / took / 1e6,
                       CYCLES.name: cpu * self.context.tsc_hz / 1e9 / max(frames, 1)},
                      waited / took / 1e9)


@functools.cache
def alone_kib(context):
    """Resident memory of a daemon with one NIC."""
    one = Many(1, context)
    try:
        Many.start(one)
        Many.wait_until_ready(one)
        return resident_kib(one.pid)
    finally:
        one.stop()


class Idle(Many):
    """Each window is the whole life of a daemon."""

    def start(self):
        """Nothing yet."""

    def wait_until_ready(self):
        """Nothing yet."""

    def window(self, seconds):
        super().start()
        try:
            super().wait_until_ready()
            time.sleep(0.3)  # looks on for a while before it sleeps
            cpu = self._daemon.child.cpu_ns()
            time.sleep(IDLE_SECONDS)
            cpu = self._daemon.child.cpu_ns() - cpu
            grown = resident_kib(self.pid) - alone_kib(self.context)
        finally:
            super().stop()
        return Window({MEMORY.name: grown / max(1, self.count - 1), IDLE.name: cpu / IDLE_SECONDS / 1e7,
                       START.name: self._start_ms, ATTACH.name: self._attach_ms})

    def stop(self):
        """Everything has ended already."""


ROWS = ([Row(f"{count} NICs, idle", (functools.partial(Idle, count),), (MEMORY, IDLE, START, ATTACH),
             "CPU < 0.1 %" if count == 256 else "", seconds=IDLE_SECONDS, classed=False, starts=1,
             windows=3, quick=count == 64) for count in COUNTS] +
        [Row(f"1 busy among {count} NICs",
             (functools.partial(Busy, count), functools.partial(Busy, 1)), (MPPS, CYCLES),
             "packets >= 0.95" if count == 256 else "", starts=3, windows=4, quick=count == 64)
         for count in COUNTS[1:]])

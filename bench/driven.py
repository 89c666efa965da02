# SPDX-License-Identifier: MIT
"""Sides that DPDK's virtio-user drives: testpmd as the guests, against vionic and against testpmd behind
DPDK's own vhost ports."""

import dataclasses
import os
import time

from card import Daemon
from children import ChildFailed
from testpmd import Testpmd
from window import BACK_END_CPU, CPU_SHARE, CYCLES, FRONT_END_CPU, MPPS, Side, Window

RING_SIZE = 256
SETTLE = 0.03  # seconds of traffic before a window begins
METRICS = (MPPS, CYCLES, CPU_SHARE)


@dataclasses.dataclass(frozen=True)
class Case:
    length: int  # bytes of a frame
    nics: tuple  # of vionic, a guest's port each: (MAC, options behind it)
    driver: str  # options of the guests' virtio-user devices
    front_end_mode: str  # testpmd's forward mode in the guests' place
    counted: str  # the front-end's "Tx" or "Rx" packets
    dpdk_mode: str  # forward mode of the testpmd behind DPDK's vhost
    go: str = "start"  # the command that sets the front-end going
    front_end_options: tuple = ("--port-topology=loop",)
    dpdk_options: tuple = ("--port-topology=loop",)
    may_drop: bool = False  # frames that find no room
    pairs: int = 1  # of each card


class Driven(Side):
    """Base: the guests and the course of a window. Subclasses bring the back-end."""

    needs = ("dpdk-testpmd",)

    def __init__(self, case, context):
        self.case = case
        self.context = context
        self.sockets = []
        self._guests = None

    def start(self):
        case = self.case
        self.start_back_end()
        self._wait_for_sockets()
        devices = [f"net_virtio_user{i},mac={mac},path={socket},queues={case.pairs},"
                   f"queue_size={RING_SIZE},{case.driver}"
                   for i, ((mac, _), socket) in enumerate(zip(case.nics, self.sockets))]
        self._guests = Testpmd(FRONT_END_CPU, devices, self.context.memory, RING_SIZE,
                               (*self.queues(), *case.front_end_options))

    def queues(self):
        """testpmd's options for so many pairs."""
        pairs = self.case.pairs
        return (f"--rxq={pairs}", f"--txq={pairs}") if pairs > 1 else ()

    def wait_until_ready(self):
        self._guests.wait_until_ready()
        self._guests.command(f"set fwd {self.case.front_end_mode}")
        self._guests.command(f"set txpkts {self.case.length}")

    def window(self, seconds):
        self.begin()
        self._guests.command(self.case.go)
        time.sleep(SETTLE)
        self._rate()  # from here on
        before = self._clocks()
        time.sleep(seconds)
        rate = self._rate()
        after = self._clocks()
        self._guests.stop_forwarding()
        cycles, packets = self.end()
        if rate == 0 or packets == 0:
            raise ChildFailed(f"{self.name}: no packet moved")
        wall, cpu, waited = [end - begin for begin, end in zip(before, after)]
        return Window({MPPS.name: rate / 1e6, CYCLES.name: cycles / packets,
                       CPU_SHARE.name: 100 * cpu / wall}, waited / wall)

    def _rate(self):
        return sum(self._guests.packets_per_second(self.case.counted, port)
                   for port in range(len(self.case.nics)))

    def _clocks(self):
        """In ns: now, the back-end's CPU time, how long both ends waited for a CPU."""
        back_end = self.back_end_child()
        return (time.monotonic_ns(), back_end.cpu_ns(),
                back_end.waited_ns() + self._guests.child.waited_ns())

    def _wait_for_sockets(self):
        deadline = time.monotonic() + 20
        while not all(map(os.path.exists, self.sockets)):
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} made no socket in 20 s")
            time.sleep(0.02)

    def stop(self):
        if self._guests:
            self._guests.kill()
        self.stop_back_end()

    # For subclasses.

    def start_back_end(self):
        """Sets self.sockets."""
        raise NotImplementedError

    def stop_back_end(self):
        raise NotImplementedError

    def back_end_child(self):
        raise NotImplementedError

    def begin(self):
        """Makes the back-end forward."""

    def end(self):
        """Makes it idle; its busy TSC cycles and its packets since begin()."""
        raise NotImplementedError


class Vionic(Driven):
    name = "vionic"
    _daemon = None

    def start_back_end(self):
        self._daemon = Daemon(self.context,
                              [f"socket=SOCKET,mac={mac},{options}" for mac, options in self.case.nics])
        self.sockets = self._daemon.sockets
        self._daemon.wait_until_ready()

    def stop_back_end(self):
        if self._daemon:
            self._daemon.stop()

    def back_end_child(self):
        return self._daemon.child

    def begin(self):
        self._before = self._counts()

    def end(self):
        busy_ns, dropped, packets = [now - before
                                     for now, before in zip(self._counts(), self._before)]
        if dropped and not self.case.may_drop:
            raise ChildFailed(f"vionic dropped {dropped} packets")
        return busy_ns * self.context.tsc_hz / 1e9, packets

    def _counts(self):
        counter = f"{self.case.counted.lower()}_packets"
        packets = sum(pair[counter] for i in range(len(self.case.nics))
                      for pair in self._daemon.inspect(f"nic{i}/queues").values())
        return (*self._daemon.busy(), packets)


class DpdkVhost(Driven):
    name = "DPDK vhost"
    _back_end = None

    def start_back_end(self):
        number = next(self.context.numbers)
        self.sockets = [os.path.join(self.context.folder, f"d{number}.{i}.sock")
                        for i in range(len(self.case.nics))]
        devices = [f"net_vhost{i},iface={socket},queues={self.case.pairs}"
                   for i, socket in enumerate(self.sockets)]
        self._back_end = Testpmd(BACK_END_CPU, devices, self.context.memory, RING_SIZE,
                                 (*self.queues(), *self.case.dpdk_options))

    def wait_until_ready(self):
        self._back_end.wait_until_ready()
        self._back_end.command(f"set fwd {self.case.dpdk_mode}")
        self._back_end.command(f"set txpkts {self.case.length}")
        self._back_end.command("set record-core-cycles on")
        super().wait_until_ready()

    def stop_back_end(self):
        if self._back_end:
            self._back_end.kill()
        for socket in filter(os.path.exists, self.sockets):
            os.unlink(socket)  # DPDK leaves them, and could not make the next ones

    def back_end_child(self):
        return self._back_end.child

    def begin(self):
        self._back_end.command("start")

    def end(self):
        return self._back_end.stop_forwarding()

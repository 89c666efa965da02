# SPDX-License-Identifier: MIT
"""The two that are compared: each is a back-end on one CPU with a DPDK front-end on the other.

A contender is idle (no CPU used) except inside `window`, so both can be up at the same time.
"""

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import time

import rows
from children import Child, ChildFailed
from testpmd import Testpmd

BACK_END_CPU, FRONT_END_CPU = 0, 1
MAC = "52:54:00:00:00:01"
POLL_US = 100
SETTLE = 0.03  # seconds of traffic before a window begins


@dataclasses.dataclass
class Window:
    contender: str
    packets_per_second: float
    cycles_per_packet: float  # of the back-end
    cpu_share: float  # of one CPU, that the back-end used
    waited_share: float  # of the time, that both ends together waited for a CPU
    probes_ns: list = dataclasses.field(default_factory=list)  # before and after
    placement: str = ""


class Contender:
    """Base: the front-end and the course of a window. Subclasses bring the back-end."""

    name = ""

    def __init__(self, row, memory, tsc_hz):
        self.row = row
        self.tsc_hz = tsc_hz
        self.socket = os.path.join(memory.folder, f"{self.name}.sock")
        self._memory = memory
        self._front_end = None
        self._start_back_end(memory)

    def connect(self):
        """Starts the front-end, once the back-end listens."""
        self._wait_for_socket()
        device = (f"net_virtio_user0,mac={MAC},path={self.socket},queues=1,"
                  f"queue_size={rows.RING_SIZE},{self.row.driver}")
        self._front_end = Testpmd(FRONT_END_CPU, device, self._memory, rows.RING_SIZE)

    def wait_until_ready(self):
        self._front_end.wait_until_ready()
        self._front_end.command(f"set fwd {self.row.front_end_mode}")
        self._front_end.command(f"set txpkts {self.row.length}")

    def window(self, seconds):
        """One measurement; idle before and after it."""
        row, front_end = self.row, self._front_end
        self._begin()
        front_end.command(row.start)
        time.sleep(SETTLE)
        front_end.packets_per_second(row.counted)  # from here on
        before = self._clocks()
        time.sleep(seconds)
        rate = front_end.packets_per_second(row.counted)
        after = self._clocks()
        front_end.stop_forwarding()
        cycles, packets = self._end()
        if rate == 0 or packets == 0:
            raise ChildFailed(f"{self.name}: no packet moved")
        wall, cpu, waited = [end - begin for begin, end in zip(before, after)]
        return Window(self.name, rate, cycles / packets, cpu / wall, waited / wall)

    def _clocks(self):
        """In ns: now, the back-end's CPU time, how long both ends waited for a CPU."""
        back_end = self._back_end_child()
        return (time.monotonic_ns(), back_end.cpu_ns(),
                back_end.waited_ns() + self._front_end.child.waited_ns())

    def _wait_for_socket(self):
        deadline = time.monotonic() + 20
        while not os.path.exists(self.socket):
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} made no socket in 20 s")
            time.sleep(0.02)

    def stop(self):
        if self._front_end:
            self._front_end.kill()
        self._stop_back_end()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket)  # DPDK leaves it, and could not make the next one

    # For subclasses.

    def _start_back_end(self, memory):
        raise NotImplementedError

    def _stop_back_end(self):
        raise NotImplementedError

    def _back_end_child(self):
        raise NotImplementedError

    def _begin(self):
        """Makes the back-end forward."""

    def _end(self):
        """Makes it idle; its busy TSC cycles and its packets since _begin."""
        raise NotImplementedError


class Vionic(Contender):
    name = "vionic"

    def _start_back_end(self, memory):
        nic = f"socket={self.socket},mac={MAC},queue-size=1024,endpoint={self.row.vionic_endpoint}"
        self._control = os.path.join(memory.folder, "control.sock")
        self._daemon = Child(
            [executable(), "run", "--nic", nic, "--workers", "1", "--poll", str(POLL_US),
             "--control", self._control], {BACK_END_CPU})
        try:
            self._daemon.read_until(re.compile("ready"), 0, 20)
        except BaseException:
            self._daemon.kill()
            raise

    def _stop_back_end(self):
        self._daemon.stop()

    def _back_end_child(self):
        return self._daemon

    def _begin(self):
        self._before = self._counts(), self._daemon.cpu_ns()

    def _end(self):
        cpu_ns = self._daemon.cpu_ns() - self._before[1]
        packets, dropped, empty_ns = [
            now - before for now, before in zip(self._counts(), self._before[0])]
        if dropped:
            raise ChildFailed(f"vionic dropped {dropped} packets")
        return (cpu_ns - empty_ns) * self.tsc_hz / 1e9, packets

    def _counts(self):
        """Packets, drops, and ns spent on looking at empty rings (0 if this vionic can't tell)."""
        answer = subprocess.run([executable(), "inspect", "--json", "--control", self._control],
                                capture_output=True, text=True, timeout=20, check=False)
        if answer.returncode != 0:
            raise ChildFailed(f"vionic inspect: {answer.stderr}")
        tree = json.loads(answer.stdout)
        pair = tree.get("nics", tree)["nic0"]["queues"]["0"]
        return (pair[f"{self.row.counted.lower()}_packets"],
                drops(pair["tx_dropped"]) + drops(pair["rx_dropped"]), pair.get("looked_on_ns", 0))


def drops(shown):
    """Inspect shows a number, or numbers by reason."""
    return sum(shown.values()) if isinstance(shown, dict) else shown


class DpdkVhost(Contender):
    name = "dpdk"

    def _start_back_end(self, memory):
        self._back_end = Testpmd(BACK_END_CPU, f"net_vhost0,iface={self.socket},queues=1", memory,
                                 rows.RING_SIZE)

    def wait_until_ready(self):
        self._back_end.wait_until_ready()
        self._back_end.command(f"set fwd {self.row.dpdk_mode}")
        self._back_end.command(f"set txpkts {self.row.length}")
        self._back_end.command("set record-core-cycles on")
        super().wait_until_ready()

    def _stop_back_end(self):
        self._back_end.kill()

    def _back_end_child(self):
        return self._back_end.child

    def _begin(self):
        self._back_end.command("start")

    def _end(self):
        return self._back_end.stop_forwarding()


def executable():
    tree = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.environ.get("VIONIC") or os.path.join(tree, BUILD, "src/daemon/vionic")


BUILD = "build"  # run.py --build says otherwise
CONTENDERS = [Vionic, DpdkVhost]
CYCLES_NOTE = (
    "Cycles a packet are TSC cycles of the back-end without empty looks at the rings. vionic:\n"
    "CPU time of its process less what its counter looked_on_ns says; a vionic without that counter\n"
    f"is charged for empty looks as well (it looks on for {POLL_US} us before it sleeps). DPDK:\n"
    "testpmd's busy cycles (record-core-cycles); in rx rows they contain making the frames, even\n"
    "those that found no room. In tx rows vionic's null endpoint never reads the payload, DPDK copies it.")

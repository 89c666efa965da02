# SPDX-License-Identifier: MIT
"""What a measurement is made of: rows, their sides, and windows of time in which a side works."""

import dataclasses
import os

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = "build-bench"  # run.py --build says otherwise
BACK_END_CPU, FRONT_END_CPU = 0, 1


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure of a window. `better` is +1 where more is better, -1 where less is, 0 for neither."""
    name: str
    digits: int
    better: int


MPPS = Metric("Mpps", 3, +1)
GBITS = Metric("Gbit/s", 2, +1)
CYCLES = Metric("cycles/frame", 0, -1)
CPU_SHARE = Metric("CPU, %", 0, 0)


@dataclasses.dataclass
class Window:
    figures: dict  # by the name of the metric
    waited_share: float = 0  # of the time, that the two ends together waited for a CPU
    probes_ns: list = dataclasses.field(default_factory=list)  # before and after
    placement: str = ""


class Side:
    """One that is measured. Idle (no CPU used) except inside `window`, so that all can be up."""

    name = ""
    needs = ()  # programs beside vionic and its loads

    def start(self):
        """Starts what takes its time, without waiting for it."""

    def wait_until_ready(self):
        """Waits for it."""

    def window(self, seconds):
        """One measurement; idle before and after it."""
        raise NotImplementedError

    def stop(self):
        """Ends everything that was started, however far it came."""


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    sides: tuple  # makers of Side from a Context; the first is vionic, ratios are first / second
    metrics: tuple
    bar: str = ""  # what the first metric's ratio is to reach, for the reader
    seconds: float = 0.12  # a window: short against how long the hypervisor leaves a CPU in its place
    classed: bool = True  # only windows of one placement class compare
    starts: int = 2  # fresh processes; a start decides where memory lies
    windows: int = 6  # for each start
    quick: bool = False  # is measured with QUICK=1 too
    settle: float = 1.5  # seconds that one start takes
    pause: float = 0.15  # seconds between two windows, beside the probe's

    def takes(self, starts, windows):
        """Seconds, about."""
        return starts * (self.settle + windows * len(self.sides) * (self.seconds + self.pause))


@dataclasses.dataclass(eq=False)
class Context:
    """What sides need of the run."""
    folder: str
    memory: object  # hugepages.Memory
    tsc_hz: float
    numbers: object  # an endless count, for names


def vionic():
    return os.environ.get("VIONIC") or os.path.join(TREE, BUILD, "src/daemon/vionic")


def program(name):
    """A load of bench/load."""
    return os.path.join(TREE, BUILD, "bench", name)

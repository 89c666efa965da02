# SPDX-License-Identifier: MIT
"""Where the hypervisor has put the two CPUs. Figures are comparable only within one class."""

import os
import re
import subprocess

from children import Child

HERE = os.path.dirname(os.path.abspath(__file__))
# Round trips in nanoseconds: siblings of one core about 55, one shared cache about 120, beyond it about 500.
CLASSES = [("near", 80), ("mid", 250), ("far", float("inf"))]
MIXED = "mix"


def class_of(before_ns, after_ns):
    """The class of a window from the probes on both sides of it."""
    before, after = [next(name for name, limit in CLASSES if ns < limit)
                     for ns in (before_ns, after_ns)]
    return before if before == after else MIXED


class Probe:
    """bench/probe.c, built into `folder` and kept running."""

    def __init__(self, folder, cpus):
        program = os.path.join(folder, "probe")
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-std=c17", "-D_GNU_SOURCE", "-pthread",
                        "-o", program, os.path.join(HERE, "probe.c")], check=True)
        self._child = Child([program, *map(str, cpus)])
        self._read_to = 0
        self.tsc_hz = self._number()

    def round_trip_ns(self):
        self._child.write("\n")
        return self._number()

    def _number(self):
        text = self._child.read_until(re.compile(r"[\d.]+\n"), self._read_to, 20)
        self._read_to += len(text)
        return float(text)

    def stop(self):
        self._child.kill()

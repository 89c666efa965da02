# SPDX-License-Identifier: MIT
"""Where the hypervisor has put the two CPUs. Figures are comparable only within one class."""

import os
import re
import subprocess

from children import Child

HERE = os.path.dirname(os.path.abspath(__file__))
# Round trips in nanoseconds: siblings of one core about 55, one shared cache about 120, beyond it
# about 500. What takes longer was interrupted.
CLASSES = [("near", 80), ("mid", 250), ("far", 1000)]
MIXED, DISTURBED = "mixed", "disturbed"  # compare with nothing
WAITED_SHARE_MAX = 0.05


def class_of(probes_ns, waited_share):
    """The class of a window, from the probes on both sides of it."""
    names = {next((name for name, limit in CLASSES if ns < limit), DISTURBED) for ns in probes_ns}
    if DISTURBED in names or waited_share > WAITED_SHARE_MAX:
        return DISTURBED
    return names.pop() if len(names) == 1 else MIXED


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

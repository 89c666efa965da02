# SPDX-License-Identifier: MIT
"""DPDK's testpmd, driven at its own command line, as front-end and as back-end."""

import itertools
import re

from children import Child, ChildFailed

MEMORY_MB = 192
ANSWER_TIMEOUT = 20
_numbers = itertools.count()


class Testpmd:
    """One forwarding core on `cpu`, a port for each of `devices` (--vdev arguments)."""

    def __init__(self, cpu, devices, memory, ring_size, options=("--port-topology=loop",), prefix=()):
        self._ports = len(devices)
        number = next(_numbers)
        command = [*prefix, "stdbuf", "-oL",  # line by line, or the answers would come late
                   "dpdk-testpmd", "--lcores", f"0@{cpu},1@{cpu}", "--no-pci", "--no-telemetry",
                   *memory.options(f"bench{number}"), "-m", str(MEMORY_MB),
                   *(word for device in devices for word in ("--vdev", device)), "--", "-i",
                   "--nb-cores=1", "--disable-link-check", "--no-lsc-interrupt",
                   "--no-flush-rx", "--total-num-mbufs=8192", f"--rxd={ring_size}",
                   f"--txd={ring_size}", *options]
        self.child = Child(command, env={"RUNTIME_DIRECTORY": memory.folder})

    def wait_until_ready(self):
        summary = self.command("show port summary all", timeout=60)
        if f"Number of available ports: {self._ports}" not in summary:
            raise ChildFailed(f"testpmd lacks a port:\n{self.child.output[-1500:]}")

    def command(self, line, timeout=ANSWER_TIMEOUT):
        """Output of one command. An unknown word after it marks where the answer ends."""
        begin = len(self.child.output)
        mark = f"end-{next(_numbers)}"
        self.child.write(f"{line}\n{mark}\n")
        return self.child.read_until(re.compile(mark + r"\s+Command not found"), begin, timeout)

    def packets_per_second(self, direction, port=0):
        """Since the last call; the clock is testpmd's own. `direction` is "Rx" or "Tx"."""
        return int(_find(rf"{direction}-pps:\s+(\d+)", self.command(f"show port stats {port}")))

    def stop_forwarding(self):
        """Busy TSC cycles and packets since the start; (0, 0) without record-core-cycles."""
        text = self.command("stop")
        found = re.search(r"\(total cycles=(\d+) / total \w+ packets=(\d+)\)", text)
        return tuple(map(int, found.groups())) if found else (0, 0)

    def kill(self):
        self.child.kill()


def _find(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise ChildFailed(f"testpmd's answer lacks {pattern}:\n{text}")
    return found.group(1)

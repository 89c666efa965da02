#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a card costs that has nothing to do: memory, and CPU time of many.

    footprint.py VIONIC        of a release build; a test of make check. Speaks TAP.
"""

import os
import re
import subprocess
import sys
import tempfile
import time

CARDS = 256
KINDS = ["null", "loopback", "user"]
MEMORY_KIB_MAX = 64  # that a card with rings of 256 entries adds
CPU_SHARE_MAX = 0.001  # of one CPU, by all of them
WINDOW = 3  # seconds
TRIES = 5


class Daemon:
    """The real one, with so many cards that no front-end uses."""

    def __init__(self, vionic, folder, kind, cards):
        command = [vionic, "run", "--control", f"{folder}/control", "--workers", "2"]
        for number in range(cards):
            command += ["--nic", f"socket={folder}/{number}.sock,queue-size=256,endpoint={kind}"]
        # meson has the C library fill what it allocates: that would be memory in use.
        environment = {name: value for name, value in os.environ.items() if name != "MALLOC_PERTURB_"}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=environment, text=True)
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "ready" in line:
                return
        raise SystemExit(f"vionic ended:\n{''.join(said)}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=60)

    def memory_kib(self):
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as rollup:
            return int(re.search(r"^Private_Dirty:\s+(\d+)", rollup.read(), re.MULTILINE)[1])

    def cpu_ns(self):
        total = 0
        for tid in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{tid}/schedstat", encoding="ascii") as stat:
                total += int(stat.read().split()[0])
        return total


def idle_share(daemon):
    """Of one CPU; the best of some windows, the first may still see the start."""
    best = 1.0
    for _ in range(TRIES):
        before = daemon.cpu_ns()
        time.sleep(WINDOW)
        best = min(best, (daemon.cpu_ns() - before) / 1e9 / WINDOW)
        if best <= CPU_SHARE_MAX:
            break
    return best


def measure(vionic, kind):
    """KiB a card, and the share of a CPU that all of them take."""
    with tempfile.TemporaryDirectory(prefix="vionic-foot-") as folder:
        with Daemon(vionic, folder, kind, 1) as daemon:
            one = daemon.memory_kib()
        with Daemon(vionic, folder, kind, CARDS) as daemon:
            return (daemon.memory_kib() - one) / (CARDS - 1), idle_share(daemon)


def main():
    failed = number = 0
    for kind in KINDS:
        memory, share = measure(sys.argv[1], kind)
        for good, text in ((memory < MEMORY_KIB_MAX, f"{memory:.1f} KiB of memory a card"),
                           (share <= CPU_SHARE_MAX, f"{share * 100:.3f} % of a CPU for {CARDS} idle cards")):
            number += 1
            failed += not good
            print(f"{'ok' if good else 'not ok'} {number} - {kind}: {text}", flush=True)
    print(f"1..{number}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vionic against DPDK's vhost PMD, with the same DPDK virtio-user front-end, in one run.

    make bench              all rows
    make bench ONLY=rx      rows with `rx` in their name
    make bench QUICK=1      about a minute
    make bench NO_HUGE=1    without hugepages

Both contenders are up at once and take turns: window A, window B, A, B ... with a probe between
that tells how far apart the two CPUs are (placement.py). The table goes to standard
output and, with every window as JSON, to bench/results/.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import contenders
import report
from children import ChildFailed
from hugepages import Memory
from placement import DISTURBED, Probe, class_of
from rows import ROWS

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")
WINDOW = 0.12  # seconds: short against how long the hypervisor leaves a CPU in its place
PATIENCE = 2  # so many times the wanted windows, if others disturb them
TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclasses.dataclass(frozen=True)
class Effort:
    starts: int  # fresh processes; a start decides where memory lies
    pairs: int  # of windows, for each start


FULL = Effort(starts=3, pairs=12)
QUICK = Effort(starts=1, pairs=9)


def measure_pairs(row, memory, probe, count):
    """`count` pairs of windows (vionic's, DPDK's), from fresh processes."""
    with contextlib.ExitStack() as stack:
        sides = []
        for make in contenders.CONTENDERS:
            sides.append(make(row, memory, probe.tsc_hz))
            stack.callback(sides[-1].stop)
        for act in ("connect", "wait_until_ready"):  # so that the slow starts overlap
            for side in sides:
                getattr(side, act)()
        return take_turns(sides, probe, count)


def take_turns(sides, probe, count):
    """Pairs of windows; when other programs disturb them, more, but not for ever."""
    pairs, good = [], 0
    before = probe.round_trip_ns()
    while good < count and len(pairs) < count * PATIENCE:
        pairs.append([])
        for side in sides:
            window = side.window(WINDOW)
            after = probe.round_trip_ns()
            window.probes_ns = [before, after]
            window.placement = class_of(window.probes_ns, window.waited_share)
            before = after
            pairs[-1].append(window)
        good += all(window.placement != DISTURBED for window in pairs[-1])
    return pairs


def measure(row, memory, probe, effort):
    pairs = []
    for _ in range(effort.starts):
        pairs += measure_pairs(row, memory, probe, effort.pairs)
    return {"row": dataclasses.asdict(row), "classes": report.summarise(pairs),
            "windows": [[dataclasses.asdict(window) for window in pair] for pair in pairs]}


def run_rows(rows, memory, probe, effort):
    """Measures and prints row after row. Results, and the names of rows that failed."""
    results, failed = [], []
    say(report.HEADER)
    for row in rows:
        try:
            results.append(measure(row, memory, probe, effort))
        except ChildFailed as failure:
            say(f"{row.name:<{report.NAME_WIDTH}} FAILED: {failure}")
            failed.append(row.name)
            continue
        for line in report.lines(row.name, results[-1]["classes"]):
            say(line)
    return results, failed


def say(line):
    TEXT.append(line)
    print(line, flush=True)


TEXT = []  # all that was said: the table's file


def legend(huge):
    return ("\nclass: how far apart the CPUs are (cache-line round trip: near < 80 ns, mid < 250,\n"
            "far); only one class compares. Each figure: median (quartiles). Ratio: vionic / DPDK\n"
            f"of neighbouring windows of {WINDOW * 1000:.0f} ms. Windows: vionic/DPDK; ! = fewer than"
            f" {report.ENOUGH}: too few\nto mean it. CPU: vionic's share of its CPU. Memory:"
            f" {'hugepages' if huge else '4 KiB pages'}.\n{contenders.CYCLES_NOTE}")


def facts(probe, memory):
    """What the figures depend on."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": platform.platform(),
        "processor": processor(),
        "tsc_hz": probe.tsc_hz,
        "hugepages": memory.huge,
        "vionic": output_of([contenders.executable(), "--version"]),
        "commit": output_of(["git", "-C", TREE, "describe", "--always", "--dirty"]),
        "dpdk": output_of(["dpdk-testpmd", "--version"]),
    }


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        names = [line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")]
    return names[0] if names else platform.machine()


def output_of(command):
    with contextlib.suppress(OSError):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, timeout=20)
        return (done.stdout.strip().splitlines() or [""])[-1]
    return ""


def save(document):
    os.makedirs(RESULTS, exist_ok=True)
    base = os.path.join(RESULTS, time.strftime("%Y%m%d-%H%M%S"))
    with open(base + ".json", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
    with open(base + ".txt", "w", encoding="utf-8") as file:
        file.write("\n".join(TEXT) + "\n")
    print(f"\nWritten to {base}.txt and .json")


def what_is_missing():
    """A sentence for the user, or None."""
    if len(os.sched_getaffinity(0) & {0, 1}) < 2:
        return "needs CPU 0 and CPU 1, one for the back-end and one for the front-end"
    if not os.access(contenders.executable(), os.X_OK):
        return f"{contenders.executable()} is not there: run `make`, or set VIONIC"
    for program in ("dpdk-testpmd", "stdbuf", os.environ.get("CC", "cc")):
        if not shutil.which(program):
            return f"{program} is not installed: `make setup` does that"
    return None


def options():
    parser = argparse.ArgumentParser(description="vionic against DPDK's vhost PMD")
    parser.add_argument("--build", default="build", help="folder with the executable")
    parser.add_argument("--only", default=os.environ.get("ONLY", ""), metavar="TEXT",
                        help="only rows with TEXT in their name")
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument("--no-huge", action="store_true", default=bool(os.environ.get("NO_HUGE")))
    return parser.parse_args()


def ignore_signals():
    """A second Ctrl-C must not cut the clean-up short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def bench(chosen, rows):
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="vionic-bench-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        memory = Memory(folder, not chosen.no_huge)
        stack.callback(memory.restore)
        probe = Probe(folder, (contenders.BACK_END_CPU, contenders.FRONT_END_CPU))
        stack.callback(probe.stop)
        stack.callback(ignore_signals)  # the first thing to be done at the end
        results, failed = run_rows(rows, memory, probe, QUICK if chosen.quick else FULL)
        say(legend(memory.huge))
        save({"facts": facts(probe, memory), "rows": results, "failed": failed})
        return 1 if failed else 0


def main():
    chosen = options()
    contenders.BUILD = chosen.build
    missing = what_is_missing()
    rows = [row for row in ROWS if chosen.only in row.name and (row.quick or not chosen.quick)]
    if not rows:
        names = ", ".join(row.name for row in ROWS)
        missing = f"no row has \"{chosen.only}\" in its name; there are {names}"
    if missing:
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return bench(chosen, rows)
    except KeyboardInterrupt:
        print("\nbench: interrupted; everything is stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vionic and its peers, side by side in one run.

    make bench              all rows; it says first how long that takes
    make bench ONLY=rx      rows with `rx` in their name
    make bench QUICK=1      fewer windows, and only the rows that say most (with ONLY: all that match)
    make bench NO_HUGE=1    DPDK without hugepages
    make bench SAVE=1       the table and its picture become those of doc/

All sides of a row are up at once and take turns: window A, window B, A, B ... with a probe between
that tells how far apart the two CPUs are (placement.py). The table goes to standard
output and, with every window as JSON and the ratios as a picture, to bench/results/.

A peer that does not start leaves a gap with its reason, a row that fails a line with its reason; the
others go on.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import plot
import report
import window
from children import ChildFailed
from hugepages import Memory
from placement import DISTURBED, Probe, class_of
from rows import ROWS, notes

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")
PATIENCE = 2  # so many times the time that a row takes, if others disturb it
PACKAGES = {"dpdk-testpmd": "dpdk-dev", "slirp4netns": "slirp4netns", "passt": "passt",
            "iperf3": "iperf3", "valgrind": "valgrind", "linux.uml": "user-mode-linux"}
SENTENCE_MAX = 300
COMPILER = os.environ.get("CC", "cc")


@dataclasses.dataclass
class Measured:
    """What the starts of a row gave."""
    rounds: list = dataclasses.field(default_factory=list)
    names: list = dataclasses.field(default_factory=list)  # of the sides
    gap: str = ""  # why the peer is missing


def bring_up(row, context, stack, measured):
    """The sides of a row, ready. A peer that fails is left out."""
    sides = []
    for make in row.sides:
        sides.append(make(context))
        stack.callback(sides[-1].stop)
    for act in ("start", "wait_until_ready"):  # so that the slow starts overlap
        for side in list(sides):
            try:
                need_programs(side)
                getattr(side, act)()
            except Exception as failure:  # pylint: disable=broad-except
                if side is sides[0]:
                    raise
                measured.gap = f"no {side.name}: {sentence(failure)}"
                sides.remove(side)
    return sides


def need_programs(side):
    for name in side.needs:
        if not shutil.which(name):
            raise ChildFailed(f"{name} is not installed (Debian: {PACKAGES[name]}): `make setup` does that")


def measure_rounds(row, context, probe, count, measured):
    """`count` rounds of windows, one of each side, from fresh processes."""
    with contextlib.ExitStack() as stack:
        sides = bring_up(row, context, stack, measured)
        measured.names = max(measured.names, [side.name for side in sides], key=len)
        measured.rounds += take_turns(row, sides, probe, count)


def take_turns(row, sides, probe, count):
    """Rounds of windows; when other programs disturb them, more, but not for ever."""
    rounds, good = [], 0
    deadline = time.monotonic() + PATIENCE * row.takes(1, count)
    before = probe.round_trip_ns()
    while good < count and (not rounds or time.monotonic() < deadline):
        rounds.append([])
        for side in sides:
            made = side.window(row.seconds)
            after = probe.round_trip_ns()
            made.probes_ns = [before, after]
            made.placement = class_of(made.probes_ns, made.waited_share) if row.classed else "any"
            before = after
            rounds[-1].append(made)
        good += all(made.placement != DISTURBED for made in rounds[-1])
    return rounds


def plan(row, quick):
    """How many starts, and how many rounds in each."""
    return (1, min(row.windows, max(3, row.windows // 2))) if quick else (row.starts, row.windows)


def measure(row, context, probe, quick):
    measured = Measured()
    starts, count = plan(row, quick)
    begun = time.monotonic()
    for _ in range(starts):
        measure_rounds(row, context, probe, count, measured)
    sides = max(map(len, measured.rounds))  # a peer may have failed in one of the starts
    rounds = [windows for windows in measured.rounds if len(windows) == sides]
    return {"name": row.name, "sides": measured.names, "bar": row.bar,
            "gap": measured.gap if sides < len(row.sides) else "",
            "metrics": [dataclasses.asdict(metric) for metric in row.metrics],
            "seconds": round(time.monotonic() - begun, 1),
            "classes": report.summarise(row.metrics, rounds),
            "windows": [[dataclasses.asdict(made) for made in windows] for windows in rounds]}


def run_rows(rows, context, probe, quick):
    """Measures and prints row after row. Results, and the names of rows that failed."""
    results, failed = [], []
    say(report.HEADER)
    for row in rows:
        try:
            results.append(measure(row, context, probe, quick))
        except Exception as failure:  # pylint: disable=broad-except
            say(f"{row.name:<{report.NAME_WIDTH}} FAILED: {sentence(failure)}")
            if len(str(failure)) > SENTENCE_MAX:
                print(failure, file=sys.stderr)
            failed.append(row.name)
            continue
        for line in report.lines(row, results[-1]):
            say(line)
    return results, failed


def sentence(failure):
    """What is wrong, in one line."""
    return " ".join(str(failure).split())[:SENTENCE_MAX] or type(failure).__name__


def say(line):
    TEXT.append(line)
    print(line, flush=True)


TEXT = []  # all that was said: the table's file


def legend(rows, huge):
    return ("\nclass: how far apart the CPUs are (cache-line round trip: near < 80 ns, mid < 250,\n"
            "far); only one class compares. Each figure: median (quartiles). Ratio: vionic / peer of\n"
            f"neighbouring windows. Windows: of vionic/peer; ! = fewer than {report.ENOUGH}: too few to mean"
            f" it.\nDPDK's memory: {'hugepages' if huge else '4 KiB pages'}.\n" + "\n".join(notes(rows)))


def facts(probe, memory):
    """What the figures depend on."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": platform.platform(),
        "processor": processor(),
        "tsc_hz": probe.tsc_hz,
        "hugepages": memory.huge,
        "vionic": output_of([window.vionic(), "--version"]),
        "commit": output_of(["git", "-C", window.TREE, "describe", "--always", "--dirty"]),
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


def save(document, into_doc):
    os.makedirs(RESULTS, exist_ok=True)
    base = os.path.join(RESULTS, time.strftime("%Y%m%d-%H%M%S"))
    with open(base + ".json", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
    with open(base + ".txt", "w", encoding="utf-8") as file:
        file.write("\n".join(TEXT) + "\n")
    picture = plot.draw(document, base)
    print(f"\nWritten to {base}.txt, .json{', .svg' if picture else ' (no picture without gnuplot)'}")
    if into_doc:
        shutil.copy(base + ".txt", os.path.join(window.TREE, "doc", "bench.txt"))
        if picture:
            shutil.copy(picture, os.path.join(window.TREE, "doc", "bench.svg"))


def what_is_missing():
    """A sentence for the user, or None."""
    if len(os.sched_getaffinity(0) & {0, 1}) < 2:
        return "needs CPU 0 and CPU 1, one for the back-end and one for the front-end"
    for path in (window.vionic(), window.program("load")):
        if not os.access(path, os.X_OK):
            return f"{path} is not there: run `make bench`, which builds it"
    if not shutil.which(COMPILER):
        return f"{COMPILER} is not installed (Debian: gcc): `make setup` does that"
    return None


def choose(chosen):
    """The rows that are wanted."""
    if chosen.only:
        return [row for row in ROWS if chosen.only.lower() in row.name.lower()]
    return [row for row in ROWS if row.quick or not chosen.quick]


def announce(rows, quick):
    seconds = sum(row.takes(*plan(row, quick)) for row in rows)
    about = f"{math.ceil(seconds / 60)} min" if seconds > 90 else f"{math.ceil(seconds)} s"
    print(f"Rows: {len(rows)}. That takes about {about}, and up to twice that where other programs disturb it.\n",
          flush=True)


def options():
    parser = argparse.ArgumentParser(description="vionic and its peers, side by side")
    parser.add_argument("--build", default=window.BUILD, help="folder with the executables")
    parser.add_argument("--only", default=os.environ.get("ONLY", ""), metavar="TEXT",
                        help="only rows with TEXT in their name, whatever the case")
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument("--no-huge", action="store_true", default=bool(os.environ.get("NO_HUGE")))
    parser.add_argument("--save", action="store_true", default=bool(os.environ.get("SAVE")),
                        help="put the table and its picture into doc/")
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
        probe = Probe(folder, (window.BACK_END_CPU, window.FRONT_END_CPU))
        stack.callback(probe.stop)
        stack.callback(ignore_signals)  # the first thing to be done at the end
        announce(rows, chosen.quick)
        context = window.Context(folder, memory, probe.tsc_hz, itertools.count())
        results, failed = run_rows(rows, context, probe, chosen.quick)
        say(legend(rows, memory.huge))
        save({"facts": facts(probe, memory), "rows": results, "failed": failed}, chosen.save)
        return 1 if failed else 0


def main():
    chosen = options()
    window.BUILD = chosen.build
    missing = what_is_missing()
    rows = choose(chosen)
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

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instructions a packet on each path of the card, counted by callgrind: the same on a busy machine. And,
printed only, the time of a packet while driver and card share a CPU.

    make count                      prints them, beside the figures of count.txt
    make count WRITE=1              makes them the figures of count.txt
    count.py PROGRAM --check        fails if a path needs more than count.txt says, or memory from the
                                    allocator (a test of make check)

The figures in count.txt hold for the compiler, C library and kind of processor that it names: there, a
path may be 3 % worse. Elsewhere the test allows half as much again, which still finds work done twice.
"""

import argparse
import glob
import os
import platform
import re
import subprocess
import sys
import tempfile

FIGURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "count.txt")
ALLOCATORS = re.compile(r"^c?fn=(.*malloc|calloc|realloc|free|aligned_alloc|mmap)(@.*)?$", re.MULTILINE)
ALLOWED_HERE, ALLOWED_ELSEWHERE = 1.03, 1.5
WIDTH = 32


def count(program):
    """{path: instructions a packet}, and the paths that allocated or freed memory meanwhile."""
    with tempfile.TemporaryDirectory(prefix="vionic-count-") as folder:
        command = ["valgrind", "--tool=callgrind", "--collect-atstart=no",
                   "--compress-strings=no",
                   f"--callgrind-out-file={folder}/out", program]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=300, check=False)
        packets = dict(re.findall(r"^(.+): (\d+) [\d.]+$", done.stdout, re.MULTILINE))
        if done.returncode != 0 or not packets:
            raise SystemExit(f"count: {program} failed:\n{done.stdout}{done.stderr}")
        dumps = [dump_read(path) for path in glob.glob(f"{folder}/out.*")]
    totals = {name: total for name, total, _ in dumps}
    allocating = [name for name, _, allocates in dumps if name in packets and allocates]
    return {path: int(totals[path]) / int(number) for path, number in packets.items()}, allocating


def time_each(program):
    """{path: ns a packet}, both ends on one CPU: no cache line changes CPUs."""
    done = subprocess.run([program], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=300, check=False)
    return dict(re.findall(r"^(.+): \d+ ([\d.]+)$", done.stdout, re.MULTILINE))


def dump_read(path):
    """Name and total of one of callgrind's dumps, and whether an allocator is in it."""
    with open(path, encoding="utf-8") as dump:
        text = dump.read()
    name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
    total = re.search(r"^(?:summary|totals): (\d+)$", text, re.MULTILINE)
    return name[1] if name else "", total[1] if total else 0, bool(ALLOCATORS.search(text))


def place(program):
    """What the figures depend on beside the source."""
    built_by = subprocess.run(["readelf", "-p", ".comment", program], capture_output=True, text=True,
                              check=True).stdout
    compiler = re.search(r"\[ *0\] +(.*)", built_by)[1].strip()
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        flags = cpuinfo.read().split()
    wide = [flag for flag in ("avx2", "erms") if flag in flags]  # by these memcpy is chosen
    return ", ".join([compiler, " ".join(platform.libc_ver()), platform.machine(), *wide])


def figures_read():
    """Place and figures of count.txt."""
    with open(FIGURES, encoding="utf-8") as file:
        made, *lines = [line.strip() for line in file if not line.startswith("#")]
    return made, {path.strip(): float(number) for path, number in
                  (line.rsplit(None, 1) for line in lines if line)}


def figures_write(here, now):
    with open(FIGURES, "w", encoding="utf-8") as file:
        file.write("# Instructions a packet, by `make count WRITE=1`. First line: compiler, C library, "
                   "processor.\n" + here + "\n\n")
        file.writelines(f"{path:<{WIDTH}} {number:6.1f}\n" for path, number in now.items())


def check(here, now, allocating):
    """One TAP line a path; 1 if one is worse than it may be."""
    made, figures = figures_read()
    allowed = ALLOWED_HERE if here == made else ALLOWED_ELSEWHERE
    if here != made:
        print(f"# count.txt is of {made}; this is {here}: {(allowed - 1) * 100:.0f} % more allowed")
    failed = 0
    for number, (path, figure) in enumerate(figures.items(), 1):
        if path not in now and path.startswith("tap"):
            print(f"ok {number} - {path} # SKIP no tap can be made here")
            continue
        good = path in now and now[path] <= figure * allowed + 0.05 and path not in allocating
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {path}: {now.get(path, 0):.1f} instructions "
              f"a packet, {figure:.1f} in count.txt"
              + (", memory was allocated" if path in allocating else ""))
    for path in now.keys() - figures.keys():
        print(f"not ok - {path} is not in count.txt: make count WRITE=1")
        failed += 1
    print(f"1..{len(figures)}")
    return 1 if failed else 0


def show(here, now, times):
    made, figures = figures_read() if os.path.exists(FIGURES) else ("", {})
    print(f"{here}\n{'instructions a packet':<{WIDTH}} {'now':>7} {'count.txt':>10} {'ns':>7}"
          + ("" if here == made else f"  (of {made})"))
    for path, number in now.items():
        print(f"{path:<{WIDTH}} {number:7.1f} {figures.get(path, 0):10.1f} {times.get(path, ''):>7}")


def main():
    parser = argparse.ArgumentParser(description="instructions a packet")
    parser.add_argument("program", help="the count program of a build")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    here, (now, allocating) = place(chosen.program), count(chosen.program)
    if chosen.check:
        return check(here, now, allocating)
    if chosen.write:
        figures_write(here, now)
    show(here, now, time_each(chosen.program))
    return 0


if __name__ == "__main__":
    sys.exit(main())

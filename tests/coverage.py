# SPDX-License-Identifier: MIT
"""Line coverage of src/ring and src/transport by unit, property and conformance tests and the fuzz
corpora (`make coverage`). Prints each file's share and the lines that no test reaches.

    python3 tests/coverage.py [FOLDER...]     folders of src; without any: ring transport

gcc and gcov count; each object's counters are added up, so an inline function counts for its file
wherever it was compiled into.
"""

import collections
import glob
import json
import os
import shutil
import subprocess
import sys

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TREE, "build-coverage")
SUITES = ["unit", "property", "conformance"]
FOLDERS = ["ring", "transport"]


def main():
    folders = sys.argv[1:] or FOLDERS
    if not build() or not run_tests():
        return 1
    lines = count_lines()
    for folder in folders:
        report(folder, {path: counts for path, counts in sorted(lines.items())
                        if path.startswith(f"src/{folder}/")})
    return 0


def build():
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        setup = ["meson", "setup", BUILD, TREE, "--buildtype=debug", "-Db_coverage=true",
                 "-Dc_args=-fprofile-update=atomic"]
        if subprocess.run(setup, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            return False
    for counters in glob.glob(os.path.join(BUILD, "**", "*.gcda"), recursive=True):
        os.unlink(counters)
    return subprocess.run(["ninja", "-C", BUILD], stdout=subprocess.DEVNULL,
                          check=False).returncode == 0


def run_tests():
    """The replays of the fuzz suite by name: the rest of it builds another tree."""
    listed = subprocess.run(["meson", "test", "-C", BUILD, "--no-rebuild", "--list",
                             "--suite", "fuzz"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            text=True, check=False).stdout.split()
    replays = [name for name in listed if name.startswith("fuzz_") and name != "fuzz_smoke"]
    suites = [part for suite in SUITES for part in ("--suite", suite)]
    done = [subprocess.run(["meson", "test", "-C", BUILD, "--no-rebuild", *what],
                           check=False).returncode
            for what in (suites, replays) if what]
    return not any(done)


def count_lines():
    """{file: {line: times}} of every source in the tree, all objects together."""
    lines = collections.defaultdict(collections.Counter)
    for counters in glob.glob(os.path.join(BUILD, "**", "*.gcda"), recursive=True):
        said = subprocess.run(["gcov", "--json-format", "--stdout", counters], cwd=BUILD,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        for text in said.stdout.splitlines():
            for entry in json.loads(text)["files"]:
                path = os.path.relpath(os.path.join(BUILD, entry["file"]), TREE)
                for line in entry["lines"]:
                    lines[path][line["line_number"]] += line["count"]
    return lines


def report(folder, files):
    total = reached = 0
    for path, counts in files.items():
        missing = sorted(number for number, times in counts.items() if times == 0)
        total += len(counts)
        reached += len(counts) - len(missing)
        share = 100 * (1 - len(missing) / len(counts))
        print(f"{share:6.1f} %  {path}" + (f"  not reached: {runs(missing)}" if missing else ""))
    print(f"{100 * reached / max(total, 1):6.1f} %  src/{folder}: {reached} of {total} lines\n")


def runs(numbers):
    """3 4 5 9 as 3-5, 9."""
    parts = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(f"{a}-{b}" if a != b else f"{a}" for a, b in parts)


if __name__ == "__main__":
    if shutil.which("gcov") is None:
        sys.exit("coverage: there is no gcov: run tools/setup.sh")
    sys.exit(main())

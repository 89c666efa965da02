# SPDX-License-Identifier: MIT
"""Builds vionic in the ways that find mistakes, runs every test there and counts the cases.

    python3 tests/check.py            all of it (`make check`)
    python3 tests/check.py --quick    the one-minute subset (`make check QUICK=1`)

The last line is "N passed, N failed" (", N skipped" if any), and the exit status is 0 if none failed.
"""

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import time

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# A line of a test that speaks TAP: ours, and cmocka's when it is asked to.
TAP_CASE = re.compile(r"^\s*(not )?ok\b[ \t]*\d*(.*)$")
TAP_SKIPPED_PROGRAM = re.compile(r"^1\.\.0\s*#\s*skip", re.IGNORECASE)
TAP_SKIPPED_CASE = re.compile(r"#\s*skip", re.IGNORECASE)


@dataclasses.dataclass
class Build:
    folder: str
    purpose: str
    options: list
    suites: list  # None: build only; empty: every test
    quick_suites: list  # None: not in the quick run


BUILDS = [
    Build("build-werror", "release with link-time optimisation, warnings are errors, instructions a packet",
          ["--buildtype=release", "-Db_lto=true", "-Dwerror=true", "-Dtests=false"],
          ["speed"], None),
    Build("build-asan", "address and undefined behaviour sanitizers, every test",
          ["--buildtype=debugoptimized", "-Db_sanitize=address,undefined"],
          [], ["unit", "conformance", "contract", "api", "smoke"]),
    Build("build-tsan", "thread sanitizer, unit tests and rings under a driver thread",
          ["--buildtype=debugoptimized", "-Db_sanitize=thread"],
          ["unit", "tsan"], None),
]


@dataclasses.dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the one-minute subset")
    quick = parser.parse_args().quick

    begin = time.monotonic()
    total = Count()
    for build in BUILDS:
        suites = build.quick_suites if quick else build.suites
        if not quick or suites is not None:
            total.add(check_build(build, suites))
    print(f"check: took {time.monotonic() - begin:.0f} s")
    print(total, flush=True)
    return 1 if total.failed or not total.passed else 0


def check_build(build, suites):
    """A build that does not compile is one failed case; one that does is a passed case."""
    print(f"check: {build.folder}: {build.purpose}", flush=True)
    if not compile_build(build):
        print(f"check: {build.folder} does not build", flush=True)
        return Count(failed=1)
    count = Count(passed=1)
    if suites is not None:
        count.add(run_tests(build.folder, suites))
    print(f"check: {build.folder}: {count}", flush=True)
    return count


def compile_build(build):
    folder = os.path.join(TREE, build.folder)
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        setup = ["meson", "setup", folder, TREE, *build.options]
        if run_quietly(setup) != 0:
            return False
    return run_quietly(["ninja", "-C", folder, "all", "meson-test-prereq"]) == 0


def run_quietly(command):
    """Shows what the command said only if it failed."""
    done = subprocess.run(command, cwd=TREE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if done.returncode != 0:
        print(done.stdout, flush=True)
    return done.returncode


def run_tests(folder, suites):
    log = os.path.join(TREE, folder, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    command = [*fixed_addresses(), "meson", "test", "-C", os.path.join(TREE, folder), "--no-rebuild"]
    for suite in suites:
        command += ["--suite", suite]
    environment = {**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP"}
    status = subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, check=False).returncode

    count = Count()
    for result in read_log(log):
        count.add(count_cases(result))
    if status != 0 and not count.failed:
        print(f"check: meson test ended with {status}", flush=True)
        count.failed = 1
    return count


def fixed_addresses():
    """The thread sanitizer does not cope with every layout that the kernel draws."""
    command = ["setarch", os.uname().machine, "--addr-no-randomize"]
    works = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if works else []


def read_log(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", errors="replace") as log:
        return [json.loads(line) for line in log if line.strip()]


def count_cases(result):
    """Counts what one test program reported, and shows all it said if something failed."""
    count = Count()
    for line in result.get("stdout", "").splitlines():
        count.add(count_line(line))
    good = result["result"] in ("OK", "EXPECTEDFAIL")
    skipped = result["result"] == "SKIP"
    if skipped and not count.skipped:
        count.skipped = 1
    if not good and not skipped and not count.failed:
        count.failed = 1  # it crashed, or ran out of time
    if good and not (count.passed or count.failed):
        count.passed = 1  # speaks with its exit status only
    if count.failed:
        show(result)
    return count


def count_line(line):
    if TAP_SKIPPED_PROGRAM.match(line):
        return Count(skipped=1)
    case = TAP_CASE.match(line)
    if not case:
        return Count()
    if TAP_SKIPPED_CASE.search(case.group(2)):
        return Count(skipped=1)
    return Count(failed=1) if case.group(1) else Count(passed=1)


def show(result):
    print(f"======== {result['name']}: {result['result']} after {result['duration']:.1f} s")
    for stream in ("stdout", "stderr"):
        text = result.get(stream, "").strip()
        if text:
            print(f"-------- its {stream}:\n{text}")
    print("========", flush=True)


if __name__ == "__main__":
    sys.exit(main())

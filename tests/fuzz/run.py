# SPDX-License-Identifier: MIT
"""Builds the fuzz targets with clang and libFuzzer in build-fuzz and runs them.

    python3 tests/fuzz/run.py --time 600 [--only TARGET]    `make fuzz TIME=600 ONLY=TARGET`
    python3 tests/fuzz/run.py --smoke                       a few seconds each, for `make check`

Each run starts from the target's corpus and regressions in the tree; what it adds is kept in
build-fuzz/found, so that the next one goes on from there. An input that breaks something is kept in
build-fuzz/findings/TARGET: after the mend it belongs into tests/fuzz/regressions/TARGET. Speaks
TAP; exits with 1 if anything was found.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TREE, "build-fuzz")

SMOKE_SECONDS = 5
INPUT_LEN_MAX = {"vhost_user": 2048, "control": 2048}
INPUT_LEN_USUAL = 1024
SLOWEST_SECONDS = 20  # an input that takes longer is a finding
MEMORY_MB = 2048


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few seconds each")
    parser.add_argument("--time", type=int, default=60, help="seconds for each target")
    parser.add_argument("--only", default="", help="one target")
    options = parser.parse_args()

    if shutil.which("clang") is None:
        print("1..0 # SKIP there is no clang: run tools/setup.sh")
        return 0
    if not build():
        return 1
    targets = [options.only] if options.only else target_names()
    print(f"1..{len(targets)}")
    seconds = SMOKE_SECONDS if options.smoke else options.time
    failed = 0
    for number, target in enumerate(targets, 1):
        failed += not run_target(number, target, seconds, keep=not options.smoke)
    return 1 if failed else 0


def target_names():
    return sorted(name[len("target_"):-len(".c")] for name in os.listdir(HERE)
                  if name.startswith("target_"))


def build():
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        setup = ["meson", "setup", BUILD, TREE, "-Dfuzz=true", "--buildtype=debugoptimized",
                 "-Db_sanitize=address,undefined", "-Db_lundef=false"]
        if not quietly(setup, {**os.environ, "CC": "clang"}):
            return False
    return quietly(["ninja", "-C", BUILD, "fuzz-targets"], os.environ)


def quietly(command, environment):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", env=environment,
                          check=False)
    if done.returncode != 0:
        print(done.stdout)
        print("Bail out! the fuzz targets can't be built", flush=True)
    return done.returncode == 0


def run_target(number, target, seconds, keep):
    found = os.path.join(BUILD, "found", target)
    findings = os.path.join(BUILD, "findings", target)
    os.makedirs(found, exist_ok=True)
    os.makedirs(findings, exist_ok=True)
    seeds = [folder for folder in (os.path.join(HERE, "corpus", target),
                                   os.path.join(HERE, "regressions", target))
             if os.path.isdir(folder)]
    command = [os.path.join(BUILD, "tests", "fuzz", "fuzz_" + target),
               *([found] if keep else []), *seeds,
               f"-max_total_time={seconds}", f"-timeout={SLOWEST_SECONDS}",
               f"-max_len={INPUT_LEN_MAX.get(target, INPUT_LEN_USUAL)}",
               f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={findings}/",
               "-print_final_stats=1"]
    if not keep:  # what a smoke run discovers must not be written into the tree
        scratch = os.path.join(BUILD, "smoke", target)
        shutil.rmtree(scratch, ignore_errors=True)
        os.makedirs(scratch)
        command.insert(1, scratch)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
                          env={**os.environ, "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"})
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stdout)
    count = executed.group(1) if executed else "?"
    if done.returncode != 0:
        print(done.stdout[-8000:], file=sys.stderr)
    word = "not ok" if done.returncode else "ok"
    print(f"{word} {number} - {target}: {count} executions in {seconds} s", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""A long day of the daemon under the address sanitizer (tests/soak/soak.h says what that is).

    python3 tests/soak/run.py --time 600 --seed 7      (`make soak TIME=600 SEED=7`)

Without a seed it takes one by chance, and prints it. The exit status is 0 if the day was a good one.
"""

import argparse
import os
import subprocess
import sys

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TREE, "build-asan")
OPTIONS = ["--buildtype=debugoptimized", "-Db_sanitize=address,undefined"]
TARGETS = ["tests/soak/soak", "src/daemon/vionic"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", type=int, default=600, help="seconds (default: 600)")
    parser.add_argument("--seed", type=int, help="a whole number")
    arguments = parser.parse_args()
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        subprocess.run(["meson", "setup", BUILD, *OPTIONS], cwd=TREE, check=True)
    subprocess.run(["ninja", "-C", BUILD, *TARGETS], check=True)
    environment = {**os.environ, "VIONIC": os.path.join(BUILD, "src/daemon/vionic"),
                   "SOAK_SECONDS": str(arguments.time)}
    if arguments.seed is not None:
        environment["SOAK_SEED"] = str(arguments.seed)
    return subprocess.run([os.path.join(BUILD, "tests/soak/soak")], env=environment,
                          check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

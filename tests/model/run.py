# SPDX-License-Identifier: MIT
"""Checks the model sleep.pml with spin: as it is, no wake-up is lost; with any fence or second look
left out, one is, so that the model is known to be able to tell. Speaks TAP.

    python3 tests/model/run.py [CC]
"""

import os
import shutil
import subprocess
import sys
import tempfile

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sleep.pml")
MODES = {"flags": 0, "split event index": 1, "packed event slot": 2}
PARTS = [f"{side}_{part}" for side in ("DEVICE", "DRIVER")
         for part in ("PUBLISH_FENCE", "ARM_FENCE", "SECOND_LOOK")]


def main():
    if shutil.which("spin") is None:
        print("1..0 # SKIP there is no spin: run tools/setup.sh")
        return 0
    cc = sys.argv[1] if len(sys.argv) > 1 else "cc"
    cases = [(mode, left_out) for mode in MODES for left_out in [None, *PARTS]]
    print(f"1..{len(cases)}")
    failed = 0
    for number, (mode, left_out) in enumerate(cases, 1):
        good, said = check(cc, mode, left_out)
        failed += not good
        what = "loses no wake-up" if left_out is None else f"without {left_out} loses one"
        print(f"{'ok' if good else 'not ok'} {number} - {mode}: {what}", flush=True)
        if not good:
            print(said, file=sys.stderr)
    return 1 if failed else 0


def check(cc, mode, left_out):
    """Whether the verifier says what it should, and all that it said."""
    defines = [f"-DMODE={MODES[mode]}"]
    if left_out:
        defines.append(f"-DWITHOUT_{left_out}")
    with tempfile.TemporaryDirectory() as folder:
        said = ""
        for command in ([shutil.which("spin"), *defines, "-a", MODEL],
                        [cc, "-O0", "-w", "-DSAFETY", "-o", "pan", "pan.c"],
                        ["./pan", "-m1000000"]):
            done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  check=False)
            said += done.stdout
            if done.returncode != 0:
                return False, said
    complete = "search depth too small" not in said and "Search not completed" not in said
    driver = said.partition("unreached in proctype driver")[2].partition("unreached in")[0]
    complete = complete and driver != "" and "-end-" not in driver  # it got everything
    if left_out:
        return "invalid end state" in said and "errors: 0" not in said, said
    return complete and "errors: 0" in said, said


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""Thread roles (src/base/roles.h) hold: clang looks at every source file, and is seen to object when one is broken.

    roles.py SOURCE_ROOT
"""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(sys.argv[1])
CLANG = ["clang", "-fsyntax-only", "-Werror", "-Wthread-safety", "-D_GNU_SOURCE",
         '-DVIONIC_VERSION="0"', "-I", str(ROOT / "src"), "-I", str(ROOT / "include"), "-x", "c"]

WORKER_PAUSES = """
#include "run/coordinator.h"
NEEDS_DATA static void turn(struct coordinator *c) { coordinator_set_memory(c, NULL); }
void use(struct coordinator *c); NEEDS_DATA void use(struct coordinator *c) { turn(c); }
"""
CONTROL_TOUCHES_PAIR = """
#include "nic/pair.h"
void use(struct pair *pair); void use(struct pair *pair) { pair_arm(pair); }
"""


def objections(arguments, text=None):
    return subprocess.run([*CLANG, *arguments], input=text, text=True, capture_output=True).stderr


def main():
    cases = []
    for path in sorted((ROOT / "src").rglob("*.c")):
        said = objections([str(path)])
        cases.append((f"roles hold in {path.relative_to(ROOT)}", not said, said))
    for name, text in (("a worker that enters the control plane is refused", WORKER_PAUSES),
                       ("a pair touched without a pause is refused", CONTROL_TOUCHES_PAIR)):
        said = objections(["-"], text)
        cases.append((name, "thread-safety" in said, said or "nothing was said"))
    for number, (name, good, said) in enumerate(cases, 1):
        print(f"{'ok' if good else 'not ok'} {number} - {name}")
        if not good:
            print("".join(f"#   {line}\n" for line in said.splitlines()), end="")
    print(f"1..{len(cases)}")
    return 0 if all(good for _, good, _ in cases) else 1


sys.exit(main())

# SPDX-License-Identifier: MIT
"""All C files look as .clang-format says (`make format` makes them so).

    format.py SOURCE_ROOT
"""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(sys.argv[1])


def main():
    files = sorted(path for folder in ("src", "include", "tests", "examples", "bench")
                   for path in (ROOT / folder).rglob("*.[ch]"))
    said = subprocess.run(["clang-format", "--dry-run", "--Werror", *map(str, files)], text=True,
                          capture_output=True).stderr
    wrong = sorted({line.split(":")[0] for line in said.splitlines() if ": error:" in line})
    for path in wrong:
        print(f"{path}: not formatted; run `make format`")
    return 1 if wrong or not files else 0


sys.exit(main())

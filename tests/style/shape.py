#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The shape of the code (CONTRIBUTING.md): length of files and functions, SPDX lines, folder names.

Usage: shape.py [ROOT]
"""
import pathlib
import re
import sys

from verdict import verdict

FILE_LINES = 650
FUNCTION_LINES = 80
BANNED = {"util", "utils", "common", "core", "misc", "helper", "helpers"}
TREES = ("src", "include", "tests", "examples", "bench")
SPDX = "SPDX-License-Identifier: MIT"
# A function's body begins with a brace in the first column and ends with one (`.clang-format`).
NAME = re.compile(r"([A-Za-z_]\w*)\s*\(")


def sources(root):
    for tree in TREES:
        for path in sorted((root / tree).rglob("*")):
            if path.suffix in (".c", ".h", ".py", ".sh") and path.is_file():
                yield path


def functions(lines):
    """Name, first line and length of each function body."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start is not None:
            heading = " ".join(lines[max(0, start - 6):start - 1])
            names = NAME.findall(heading)
            yield (names[-1] if names else "?"), start, number - start - 1
            start = None


def check_file(root, path):
    where = path.relative_to(root)
    lines = path.read_text().splitlines()
    if len(lines) > FILE_LINES:
        yield f"{where}:{FILE_LINES}: {len(lines)} lines; a file has up to {FILE_LINES}"
    if not any(SPDX in line for line in lines[:3]):
        yield f"{where}:1: no {SPDX} in the first lines"
    if path.suffix not in (".c", ".h"):
        return
    for name, start, length in functions(lines):
        if length > FUNCTION_LINES and name != "main":
            yield f"{where}:{start}: {name} has {length} lines; a function has up to {FUNCTION_LINES}"


def check(root):
    files = list(sources(root))
    problems = [problem for path in files for problem in check_file(root, path)]
    folders = {path.parent for path in files}
    for folder in sorted(folders):
        for part in folder.relative_to(root).parts:
            if part in BANNED:
                problems.append(f"{folder.relative_to(root)}:1: a folder named {part} says nothing")
    return files, problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    files, problems = check(root)
    return verdict("shape", "files", len(files), problems)


if __name__ == "__main__":
    sys.exit(main())

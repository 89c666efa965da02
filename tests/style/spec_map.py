#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""doc/spec-map.md against the tree: every id has one row, every test that a row names exists.

A row is `| ID | FILE: NAME, NAME<br>FILE: NAME |`, or `| ID | not offered: WHY<br>FILE: NAME |` with the test that
sees to that. A test in C exists if the file defines it and lists it among its tests; one in Python if the file has
the name.
Usage: spec_map.py [ROOT]
"""
import pathlib
import re
import sys

from verdict import verdict

ROW = re.compile(r"^\| ([A-Z]+[A-Z0-9-]*\d) \| (.+) \|$")
IDS = re.compile(r"^## The ids\n\n```\n(.*?)\n```$", re.M | re.S)
NOT_OFFERED = re.compile(r"^not offered: \w.+?<br>")


def test_exists(path, name):
    text = path.read_text()
    if path.suffix == ".c":
        defined = re.search(rf"^static void {re.escape(name)}\(void \*\*", text, re.M)
        listed = re.search(rf"(?i:test)\w*\(\s*{re.escape(name)}[,)\s]", text)
        return defined is not None and listed is not None
    return name in text


def check_tests(root, number, cell):
    for group in cell.split("<br>"):
        file, _, names = group.partition(": ")
        path = root / file
        if not file.startswith("tests/") or not path.is_file():
            yield f"doc/spec-map.md:{number}: there is no file {file}"
            continue
        for name in names.split(", "):
            if not name or not test_exists(path, name):
                yield f"doc/spec-map.md:{number}: {file} has no test {name}"


def check(root):
    text = (root / "doc" / "spec-map.md").read_text()
    listed = IDS.search(text)
    if listed is None:
        return 0, 0, ["doc/spec-map.md:1: the list of ids at the end is gone"]
    ids = listed.group(1).split()
    rows = {}
    not_offered = 0
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        match = ROW.match(line)
        if match is None:
            continue
        name, cell = match.groups()
        if name in rows:
            problems.append(f"doc/spec-map.md:{number}: {name} has a second row")
        rows[name] = cell
        if name not in ids:
            problems.append(f"doc/spec-map.md:{number}: {name} is not in the list of ids")
        not_offered += NOT_OFFERED.match(cell) is not None
        problems += check_tests(root, number, NOT_OFFERED.sub("", cell))
    problems += [f"doc/spec-map.md:1: {name} has no row" for name in ids if name not in rows]
    return len(ids), not_offered, problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    ids, not_offered, problems = check(root)
    return verdict("spec map", f"ids ({not_offered} not offered)", ids, problems)


if __name__ == "__main__":
    sys.exit(main())

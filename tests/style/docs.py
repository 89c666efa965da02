#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the documents name is there: files, folders' tests, targets of make, tests of meson, and links.

Usage: docs.py SOURCE_ROOT BUILD_ROOT
"""
import json
import pathlib
import re
import sys

from verdict import verdict

DOCS = ("*.md", "doc/*.md", "doc/*.[13]")
FILE = re.compile(r"(?<![\w/.-])\w[\w/-]*(?:\.[\w-]+)*\.(?:c|h|py|sh|md|txt|pml|abi|service|socket)\b")
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
MAKE = re.compile(r"(?:^ {4}\$ |`)make ([a-z]+)", re.M)
TESTS = re.compile(r"meson test -C build-asan ([^`\n#]*)")
OF_THE_READER = {"vmm.c"}


def named_files(text, is_page):
    """In a manual page only what has a folder: the others are the reader's."""
    pieces = [text.replace("\\-", "-")] if is_page else CODE.findall(text)
    return [name for piece in pieces for name in FILE.findall(piece) if "/" in name or not is_page]


def anchors(text):
    """As GitHub makes them of headings."""
    return {re.sub(r"[^\w -]", "", line[2:].strip().lower()).replace(" ", "-")
            for line in re.findall(r"^#(#+ .*)$", text, re.M)}


def check_link(path, target):
    if re.match(r"[a-z]+:", target):
        return True
    file, _, anchor = target.partition("#")
    there = path.parent / file if file else path
    return there.exists() and (not anchor or anchor in anchors(there.read_text()))


def check(root, path, names, tests, targets):
    text = path.read_text()
    where = path.relative_to(root)
    for name in named_files(text, path.suffix != ".md"):
        if name not in OF_THE_READER and not any(f"/{known}".endswith(f"/{name}") for known in names):
            yield f"{where}: there is no file {name}"
    for target in LINK.findall(text) if path.suffix == ".md" else []:
        if not check_link(path, target):
            yield f"{where}: the link {target} leads nowhere"
    for target in MAKE.findall(text):
        if target not in targets:
            yield f"{where}: there is no `make {target}`"
    for words in TESTS.findall(text):
        for word in re.sub(r"--suite \S+|--\S+", "", words).split():
            if word not in tests:
                yield f"{where}: there is no test {word}"


def main():
    root, build = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    trees = ("src", "include", "tests", "bench", "doc", "demo", "tools", "examples", "dist")
    names = [path.relative_to(root).as_posix().removesuffix(".in") for tree in trees
             for path in (root / tree).rglob("*")]
    names += [path.name for path in root.iterdir()]
    tests = {test["name"] for test in json.loads((build / "meson-info/intro-tests.json").read_text())}
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.M))
    paths = [path for pattern in DOCS for path in sorted(root.glob(pattern))]
    problems = [problem for path in paths for problem in check(root, path, names, tests, targets)]
    return verdict("docs", "documents", len(paths), problems)


if __name__ == "__main__":
    sys.exit(main())

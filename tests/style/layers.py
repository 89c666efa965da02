#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Who may include whom: the chain of layers of ARCHITECTURE.md, checked on every #include of src/.

A layer may include itself and every layer below it in the chain, plus the exceptions listed here.
Endpoints stand beside the chain: they see their own contract and base. Usage: layers.py [ROOT]
"""
import pathlib
import re
import sys

from verdict import verdict

CHAIN = ["daemon", "api", "transport", "run", "nic", "ring", "memory", "base"]

# The contract between NIC and endpoints, and the headers that open endpoints.
EXCEPTIONS = {
    "nic": {"endpoint/endpoint.h"},
    "run": {"endpoint/endpoint.h", "endpoint/catalog.h", "endpoint/spec.h"},
    "api": {"endpoint/endpoint.h", "endpoint/catalog.h", "endpoint/spec.h", "endpoint/switch/switches.h"},
    "daemon": {"api/handover.h"},  # a takeover is between two daemons, and nothing for embedders
}
PUBLIC = {"vionic.h", "vionic_endpoint.h"}
# The daemon is a client of the library: it lives on the public header and base.
DAEMON_BELOW = {"daemon", "base"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def allowed(layer, target):
    """Whether a file of `layer` may include `target`, a path relative to src/."""
    if target in PUBLIC:
        return layer in ("api", "daemon")
    if target in EXCEPTIONS.get(layer, ()):
        return True
    below = target.split("/")[0]
    if layer == "endpoint":
        return below in ("endpoint", "base")
    if layer == "daemon":
        return below in DAEMON_BELOW
    return below in CHAIN and CHAIN.index(below) >= CHAIN.index(layer)


def resolve(root, path, name):
    """The included file relative to src/, or the public header's name; None for a system header."""
    if name in PUBLIC or (root / "include" / name).exists():
        return name
    for base in (path.parent, root / "src"):
        candidate = (base / name).resolve()
        if candidate.exists() and (root / "src").resolve() in candidate.parents:
            return candidate.relative_to((root / "src").resolve()).as_posix()
    return None


def check(root):
    problems = []
    known = set(CHAIN) | {"endpoint"}
    files = sorted((root / "src").rglob("*.[ch]"))
    for path in files:
        where = path.relative_to(root)
        layer = where.parts[1]
        if layer not in known:
            problems.append(f"{where}:1: folder {layer} is no layer; known are {' '.join(sorted(known))}")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if match is None:
                continue
            target = resolve(root, path, match.group(2))
            if target is None:
                if match.group(1) == '"':
                    problems.append(f"{where}:{number}: {match.group(2)} is not in the tree")
                continue
            if not allowed(layer, target):
                problems.append(f"{where}:{number}: layer {layer} may not include {target}")
    return files, problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    files, problems = check(root)
    return verdict("layers", "files", len(files), problems)


if __name__ == "__main__":
    sys.exit(main())

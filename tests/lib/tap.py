# SPDX-License-Identifier: MIT
"""Cases in, TAP out."""

import traceback


def run_cases(cases):
    """Runs each (name, function); returns the exit status."""
    failed = 0
    print(f"1..{len(cases)}")
    for number, (name, function) in enumerate(cases, 1):
        try:
            function()
            print(f"ok {number} {name}", flush=True)
        except Exception:  # a test that breaks is a test that fails
            failed += 1
            print(f"not ok {number} {name}")
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
    return 1 if failed else 0


def expect(condition, sentence):
    if not condition:
        raise AssertionError(sentence)

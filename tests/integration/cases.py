# SPDX-License-Identifier: MIT
"""Reports the cases of one test program as TAP, so that each case counts."""

import contextlib
import signal
import sys
import time
import traceback


_evidence = []


def show_on_failure(name, tell):
    """tell() is text, such as a log, that explains a failed case."""
    _evidence.append((name, tell))


class Cases:
    def __init__(self):
        self._count = 0
        self._failed = 0

    @contextlib.contextmanager
    def case(self, name):
        """One test case: ok unless its body raises."""
        begin = time.monotonic()
        try:
            yield
        except Exception as problem:  # pylint: disable=broad-except
            self._report("not ok", name, begin)
            self._explain(problem)
        else:
            self._report("ok", name, begin)

    def finish(self):
        print(f"1..{self._count}", flush=True)
        return 1 if self._failed or not self._count else 0

    def _report(self, verdict, name, begin):
        self._count += 1
        self._failed += verdict != "ok"
        print(f"{verdict} {self._count} - {name} ({time.monotonic() - begin:.1f} s)", flush=True)

    def _explain(self, problem):
        text = "".join(traceback.format_exception(problem))
        for name, tell in _evidence:
            text += f"--- {name}:\n{tell()}"
        for line in text.splitlines():
            print("#   " + line)
        sys.stdout.flush()


def skip_all(reason):
    print(f"1..0 # SKIP {reason}", flush=True)
    sys.exit(0)


def run(main):
    """Runs main(cases) and exits. What goes wrong outside of a case is a failed case too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by its time limit"))
    cases = Cases()
    try:
        main(cases)
    except Exception as problem:  # pylint: disable=broad-except
        with cases.case("everything around the cases"):
            raise problem
    sys.exit(cases.finish())


def expect(condition, what):
    """Like assert, but stays when Python is told to optimise."""
    if not condition:
        raise AssertionError(what)


def expect_equal(actual, expected, what):
    expect(actual == expected, f"{what}: {actual!r} instead of {expected!r}")


def eventually(condition, timeout, what, interval=0.2):
    """Waits until condition() is true and returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        expect(time.monotonic() < deadline, f"{what}: not within {timeout} s")
        time.sleep(interval)

# SPDX-License-Identifier: MIT
"""Programs that the benchmark starts. None outlives it, however it ends."""

import ctypes
import glob
import os
import re
import select
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
STOP_PATIENCE = 5  # seconds


class ChildFailed(Exception):
    """A program ended, fell silent or did nothing; the text says which and shows its last words."""


def _prepare(cpus):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if cpus:
        os.sched_setaffinity(0, cpus)


class Child:
    """A program whose output is read here. `cpus` pins it; None leaves it where it likes."""

    def __init__(self, command, cpus=None, env=None):
        self.name = " ".join(map(os.path.basename, command[:3]))
        self.output = ""
        # A session of its own: Ctrl-C is for the benchmark, which then ends its children.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            bufsize=0, start_new_session=True, preexec_fn=lambda: _prepare(cpus),
            env={**os.environ, **(env or {})})

    @property
    def pid(self):
        return self._process.pid

    def write(self, text):
        try:
            self._process.stdin.write(text.encode())
        except BrokenPipeError:
            raise self._failure("has ended") from None

    def read_until(self, pattern, begin, timeout):
        """The output from index `begin` on, once `pattern` (compiled) matches in it."""
        deadline = time.monotonic() + timeout
        while not pattern.search(self.output, begin):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise self._failure(f"said nothing that matches {pattern.pattern} in {timeout} s")
            data = os.read(self._process.stdout.fileno(), 65536)
            if not data:
                raise self._failure("has ended")
            self.output += data.decode(errors="replace")
        return self.output[begin:]

    def ask(self, question, timeout=30):
        """The numbers of the next line that it says, when it is told `question`."""
        begin = len(self.output)
        self.write(f"{question}\n")
        answer = self.read_until(re.compile(r"\n"), begin, timeout).split()
        try:
            return list(map(float, answer))
        except ValueError:
            raise self._failure("has no figures") from None

    def _failure(self, what):
        return ChildFailed(f"{self.name} {what}; its last words:\n{self.output[-1500:]}")

    def cpu_ns(self):
        """CPU time of the whole process up to now, exact (clock_getcpuclockid(3))."""
        return time.clock_gettime_ns((~self.pid << 3) | 2)

    def waited_ns(self):
        """How long its threads were kept from a CPU that something else was using."""
        waited = 0
        for path in glob.glob(f"/proc/{self.pid}/task/*/schedstat"):
            with open(path, encoding="ascii") as file:
                waited += int(file.read().split()[1])
        return waited

    def stop(self):
        """Asks it to end, insists after a while."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

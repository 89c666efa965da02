# SPDX-License-Identifier: MIT
"""Runs the vionic daemon under test and asks it what it counts."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "guests"))

import cases
from guest import die_with_parent

COMPLAINTS = ("Sanitizer", "runtime error:", "sandbox: refused")
START_TIMEOUT = 20
STOP_TIMEOUT = 20


def executable():
    path = os.environ.get("VIONIC")
    cases.expect(path, "VIONIC must name the executable under test; meson sets it")
    return os.path.abspath(path)


class Folder:
    """A folder for sockets and logs that goes away by itself."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix=f"vionic-test-{os.getpid()}-")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def __truediv__(self, name):
        return os.path.join(self.path, name)


class Daemon:
    """`nics` are --nic SPECs. The daemon is running and answers when the constructor is through."""

    def __init__(self, folder, nics, network=None, arguments=(), program=None):
        self.control = folder / "control.sock"
        self.log_path = folder / "vionic.log"
        specs = [word for nic in nics for word in ("--nic", nic)]
        self._command = [*(network.prefix if network else []), program or executable(), "run",
                         "--control", self.control, *specs, *arguments]
        self._process = None
        cases.show_on_failure("the daemon's log", self.log)
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def pid(self):
        return self._process.pid

    def _spawn(self, *more):
        with open(self.log_path, "ab") as log:
            return subprocess.Popen(
                [*self._command, *more], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent, env=sanitizer_environment())

    def start(self):
        self._process = self._spawn()
        cases.eventually(self._answers, START_TIMEOUT, "the daemon answers on its control socket")

    def _answers(self):
        cases.expect(self._process.poll() is None, f"the daemon ended at once: {self.log()}")
        return os.path.exists(self.control) and ask(self.control).returncode == 0

    def upgrade(self):
        """Another daemon takes over from this one, which has to end with status 0."""
        before, self._process = self._process, self._spawn("--takeover")
        status = before.wait(START_TIMEOUT)
        cases.expect(status == 0, f"the old daemon ended with {status}: {self.log()}")
        cases.eventually(self._answers, START_TIMEOUT, "the new daemon answers")

    def is_alive(self):
        return self._process.poll() is None

    def stop(self):
        """SIGTERM must end the daemon with status 0 and nothing to complain about."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM did not end the daemon: {self.log()}") from None
        log = self.log()
        cases.expect(status == 0, f"the daemon ended with {status}: {log}")
        cases.expect(not any(word in log for word in COMPLAINTS), log)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()[-20000:]

    def inspect(self, path=""):
        """The inspect tree, or the part of it at `path`, as Python values."""
        answer = ask(self.control, *([path] if path else []))
        cases.expect(answer.returncode == 0, f"vionic inspect {path}: {answer.stderr}")
        return json.loads(answer.stdout)

    def nic(self, name):
        return self.inspect(name)

    def set(self, *assignments):
        """`vionic set`: returns (exit status, what it complains about)."""
        done = subprocess.run([executable(), "set", *assignments, "--control", self.control],
                              capture_output=True, text=True, timeout=30, check=False,
                              env=sanitizer_environment())
        return done.returncode, done.stderr

    def must_set(self, *assignments):
        status, complaint = self.set(*assignments)
        cases.expect(status == 0, f"vionic set {' '.join(assignments)}: {complaint}")

    def pair(self, name, index=0):
        """What queue pair `index` of a NIC shows."""
        return self.nic(name)["queues"][str(index)]


def ask(control, *path):
    return subprocess.run([executable(), "inspect", *path, "--json", "--control", control],
                          capture_output=True, text=True, timeout=30, check=False,
                          env=sanitizer_environment())


def sanitizer_environment():
    """A sanitizer that finds something ends the daemon, so that no report is overlooked."""
    return {"UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1", **os.environ}


def wait_for_socket(path, timeout=START_TIMEOUT):
    cases.eventually(lambda: os.path.exists(path), timeout, f"{path} exists", 0.05)
    time.sleep(0.05)

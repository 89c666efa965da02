# SPDX-License-Identifier: MIT
"""What the daemon's tests share: TAP output, and the real `vionic` as a child process."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import tap
from tap import expect

VIONIC = sys.argv[1]
PATIENCE = 20  # seconds; sanitizers on a busy machine are slow


def run_cases(cases):
    """Runs each (name, function); prints TAP; ends the process."""
    sys.exit(tap.run_cases(cases))


def without_build_notes(text):
    """A build without libseccomp or libcap-ng says so at each start; that is no news."""
    return "".join(line for line in text.splitlines(True) if "sandbox: this build " not in line)


def cases_of(module):
    """The functions whose names begin with `test_`, in the order of the file."""
    return [(name[5:].replace("_", " "), value) for name, value in vars(module).items()
            if name.startswith("test_")]


def run(*arguments, **options):
    """Runs vionic to its end."""
    options.setdefault("timeout", PATIENCE)
    return subprocess.run([VIONIC, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, **options)


def check_refused(done, status, *words):
    """One sentence on stderr with all the words in it, nothing on stdout, and the exit status."""
    text = done.stderr.decode("utf-8")
    expect(done.returncode == status, f"status {done.returncode}, not {status}; said: {text}")
    expect(text.count("\n") == 1 and text.endswith("\n"), f"not one line: {text!r}")
    expect(text.startswith("vionic: error: "), f"no `vionic: error:` in front: {text!r}")
    expect(done.stdout == b"", f"stdout has {done.stdout!r}")
    for word in words:
        expect(word in text, f"{word!r} is not in {text!r}")


class Place:
    """A directory for the sockets and files of one case."""

    def __enter__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="vionic-d-")
        self.path = self._directory.name
        return self

    def __exit__(self, *_):
        self._directory.cleanup()

    def at(self, name):
        return os.path.join(self.path, name)

    def write(self, name, content):
        path = self.at(name)
        data = content if isinstance(content, bytes) else content.encode()
        with open(path, "wb") as file:
            file.write(data)
        return path


class Daemon:
    """`vionic run` that answers on its control socket."""

    def __init__(self, place, *arguments, control="control.sock", env=None, **options):
        self.control = place.at(control)
        self.log_path = place.at(control + ".log")
        self.env = dict(os.environ, **(env or {}))
        self.command = [VIONIC, "run", "--control", self.control, *arguments]
        self.options = options
        self.process = None
        self.may_refuse = False  # a case that asks the sandbox for a refusal says so

    def __enter__(self):
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.env,
                                            stdin=subprocess.DEVNULL, **self.options)
        self.wait_for("ready; ")
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM if kind is None else signal.SIGKILL)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        if kind is None:
            expect(status == 0, f"ended with {status}: {self.log()}")
            expect(self.may_refuse or "sandbox: refused" not in self.log(), self.log())
        else:
            print("# " + self.log().replace("\n", "\n# "))

    def log(self):
        with open(self.log_path, encoding="utf-8") as log:
            return log.read()

    def wait_for(self, text):
        until = time.monotonic() + PATIENCE
        while text not in self.log():
            expect(self.process.poll() is None, f"ended early: {self.log()}")
            expect(time.monotonic() < until, f"never said {text!r}: {self.log()}")
            time.sleep(0.02)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def connect(self):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(self.control)
        client.settimeout(PATIENCE)
        return client

    def ask(self, request):
        with self.connect() as client:
            client.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(read_line(client))

    def check_answers(self):
        started = time.monotonic()
        answer = self.ask({"command": "ping"})
        expect(answer["ok"] and answer["result"]["pid"] == self.process.pid, f"ping: {answer}")
        expect(time.monotonic() - started < 5, "ping took more than five seconds")

    def check_idle(self):
        """Less than a tenth of one CPU over a second."""
        before = self.cpu_seconds()
        time.sleep(1)
        used = self.cpu_seconds() - before
        expect(used < 0.1, f"used {used} s of CPU in a second of rest")

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_fd_count(self, count):
        until = time.monotonic() + PATIENCE
        while self.fd_count() != count:
            expect(time.monotonic() < until, f"{self.fd_count()} fds are open, not {count}")
            time.sleep(0.02)

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def read_line(client):
    data = b""
    while not data.endswith(b"\n"):
        more = client.recv(65536)
        if not more:
            raise EOFError(f"closed after {data[:200]!r}")
        data += more
    return data

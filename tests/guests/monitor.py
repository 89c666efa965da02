# SPDX-License-Identifier: MIT
"""QEMU's own control socket (QMP), as far as a migration needs it."""

import json
import socket
import time

PATIENCE = 60  # seconds


class MonitorError(Exception):
    """QEMU refused a command, or a migration failed."""


class Monitor:
    """Connects to the QMP socket at `path`, which is made as QEMU starts."""

    def __init__(self, path):
        self._socket = _connect(path)
        self._socket.settimeout(PATIENCE)
        self._lines = self._socket.makefile("rb")
        json.loads(self._lines.readline())  # the greeting
        self.ask("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._lines.close()
        self._socket.close()

    def ask(self, command, **arguments):
        message = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise MonitorError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]  # anything else is an event

    def migrate(self, uri):
        """Moves the guest to the QEMU that waits at `uri`; what QEMU says about it afterwards."""
        self.ask("migrate", uri=uri)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            said = self.ask("query-migrate")
            if said.get("status") == "completed":
                return said
            if said.get("status") in ("failed", "cancelled"):
                raise MonitorError(f"the migration has {said['status']}: {said.get('error-desc')}")
            time.sleep(0.05)
        raise MonitorError(f"the migration is not done in {PATIENCE} s: {said}")


def _connect(path):
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
            return connection
        except OSError:
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)

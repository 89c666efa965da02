# SPDX-License-Identifier: MIT
"""The daemon as a side of a measurement."""

import json
import os
import re
import subprocess
import time

from children import Child, ChildFailed
from window import BACK_END_CPU, vionic

POLL = ["--poll", "100"]
MAC = "52:54:00:00:00:01"


class Daemon:
    """`vionic run` with the given NICs (texts behind --nic, with SOCKET for the socket's path)."""

    def __init__(self, context, nics, prefix=(), options=(), poll=tuple(POLL)):
        number = next(context.numbers)
        self.sockets = [os.path.join(context.folder, f"v{number}.{i}.sock") for i in range(len(nics))]
        self._control = os.path.join(context.folder, f"v{number}.control")
        words = []
        for text, socket in zip(nics, self.sockets):
            words += ["--nic", text.replace("SOCKET", socket)]
        self.child = Child([*prefix, vionic(), "run", *words, "--workers", "1", *poll, *options,
                            "--control", self._control], {BACK_END_CPU})
        self._begun = time.monotonic()

    def wait_until_ready(self):
        """Seconds since the start."""
        self.child.read_until(re.compile("ready"), 0, 60)
        return time.monotonic() - self._begun

    def inspect(self, path=""):
        answer = subprocess.run(
            [vionic(), "inspect", "--json", "--control", self._control, *([path] if path else [])],
            capture_output=True, text=True, timeout=60, check=False)
        if answer.returncode != 0:
            raise ChildFailed(f"vionic inspect: {answer.stderr}")
        return json.loads(answer.stdout)

    def busy(self):
        """(CPU time less the worker's rounds in which it found nothing, dropped frames) up to now."""
        tree = self.inspect()
        empty, dropped = 0, 0
        for nic in tree.get("nics", tree).values():
            for pair in nic.get("queues", {}).values() if isinstance(nic, dict) else ():
                empty = pair["worker"]["polling"]["spent_ns"]  # one worker has them all
                dropped += drops(pair["tx_dropped"]) + drops(pair["rx_dropped"])
        return self.child.cpu_ns() - empty, dropped

    def stop(self):
        self.child.stop()


def drops(shown):
    """Inspect shows a number, or numbers by reason."""
    return sum(shown.values()) if isinstance(shown, dict) else shown

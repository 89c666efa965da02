# SPDX-License-Identifier: MIT
"""DPDK's testpmd as the driver on the guest's side of a vhost-user socket, without hugepages."""

import os
import re
import subprocess
import threading
import time

import cases
from daemon import die_with_parent

MEMORY_MB = 512


def command_line(devices, arguments=()):
    """`devices` are --vdev arguments, port 0 first."""
    vdevs = [word for device in devices for word in ("--vdev", device)]
    return ["dpdk-testpmd", "--lcores", "0@0,1@1", "--no-pci", "--no-telemetry", "--no-huge",
            "-m", str(MEMORY_MB), "--file-prefix", f"vionic-{os.getpid()}", *vdevs,
            "--", "-i", "--nb-cores=1", "--disable-link-check", "--total-num-mbufs=16384",
            *arguments]


class Testpmd:
    """testpmd at its own command line (it was started with -i)."""

    def __init__(self, command):
        self._output = ""
        self._process = subprocess.Popen(
            ["stdbuf", "-oL", *command],  # line by line, or the answers would come late
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            bufsize=1, preexec_fn=die_with_parent)
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        try:
            self.command("show port summary all", timeout=60)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        self.kill()

    def command(self, line, timeout=20):
        """Output of one command. An unknown word after it marks where the answer ends."""
        begin = len(self._output)
        mark = f"end-{time.monotonic_ns()}"
        end = re.compile(mark + r"\s+Command not found")
        self._process.stdin.write(f"{line}\n{mark}\n")
        cases.eventually(lambda: end.search(self._output, begin) or self._gone(), timeout,
                         f"testpmd answers `{line}`", 0.02)
        return self._output[begin:]

    def _gone(self):
        cases.expect(self._process.poll() is None, f"testpmd ended: {self._output[-3000:]}")

    def statistics(self, port):
        """RX-packets, TX-packets and their like of a port."""
        text = self.command(f"show port stats {port}")
        return {name: int(value) for name, value in re.findall(r"([RT]X-[a-z]+):\s+(\d+)", text)}

    def quit(self):
        self._process.stdin.write("stop\nquit\n")
        self._process.wait(30)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def _read(self):
        for line in self._process.stdout:
            self._output += line

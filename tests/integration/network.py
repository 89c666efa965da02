# SPDX-License-Identifier: MIT
"""A network of the test's own: a namespace that goes away when the test ends, however it ends."""

import os
import socket
import subprocess

import cases

# Makes a socket and hands it over.
OPEN_SOCKET = """
import socket, sys
family, kind, protocol, channel = map(int, sys.argv[1:])
made = socket.socket(family, kind, protocol)
socket.send_fds(socket.socket(fileno=channel), [b"+"], [made.fileno()])
"""

HOLD = "mount -t sysfs sysfs /sys; ip link set lo up && echo ready && exec cat"


class Network:
    """A network namespace, held by a process that lives as long as this one holds its input. It has
    no name and reaches nothing outside. An ordinary user gets it in a user namespace."""

    def __init__(self):
        if os.geteuid() == 0:
            unshare, enter = [], []
        else:
            unshare = ["--user", "--map-root-user"]
            enter = ["--user", "--preserve-credentials"]
        self._holder = subprocess.Popen(
            ["unshare", *unshare, "--net", "--mount", "sh", "-c", HOLD],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self._holder.stdout.readline() != b"ready\n":
            why = self._holder.stderr.read().decode().strip()
            self.close()
            raise OSError(f"no network namespace can be made here: {why}")
        self.prefix = ["nsenter", *enter, "--net", "--mount", "--target", str(self._holder.pid)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._holder.stdin.close()
        self._holder.wait()
        self._holder.stdout.close()
        self._holder.stderr.close()

    def run(self, *command, timeout=30):
        """Output of a command that must succeed inside."""
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True,
                              timeout=timeout, check=False)
        cases.expect(done.returncode == 0,
                     f"`{' '.join(command)}` ended with {done.returncode}: "
                     f"{done.stderr}{done.stdout}")
        return done.stdout

    def popen(self, *command, **arguments):
        """Starts a command inside; the process is the command itself."""
        return subprocess.Popen([*self.prefix, *command], **arguments)

    def socket(self, family, kind, protocol=0):
        """A socket of this network, for use in this process: where a socket is made is where it stays."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = ["python3", "-c", OPEN_SOCKET,
                       *(str(int(word)) for word in (family, kind, protocol, theirs.fileno()))]
            subprocess.run([*self.prefix, *command], pass_fds=[theirs.fileno()], timeout=30,
                           check=True)
            fds = socket.recv_fds(ours, 1, 1)[1]
        return socket.socket(fileno=fds[0])

    def add_tap(self, name, *flags):
        """A tap that stays when nobody has it open, for a daemon that attaches."""
        self.run("ip", "tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr", *flags)

    def bring_up(self, name, address=None, mtu=1500):
        if address:
            self.run("ip", "address", "add", address, "dev", name)
        self.run("ip", "link", "set", name, "mtu", str(mtu), "up")

    def bridge(self, name, *members):
        self.run("ip", "link", "add", name, "type", "bridge")
        for member in members:
            self.run("ip", "link", "set", member, "master", name, "up")


def need():
    """Skips the whole program, saying why, where taps and namespaces can't be had."""
    if not os.path.exists("/dev/net/tun"):
        cases.skip_all("there is no /dev/net/tun: the kernel has no tun driver (modprobe tun)")
    try:
        with Network() as network:
            network.add_tap("probe")
    except (OSError, AssertionError) as problem:
        cases.skip_all(f"taps in a network namespace need root or user namespaces: {problem}")

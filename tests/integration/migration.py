# SPDX-License-Identifier: MIT
"""A guest moves from one daemon to another and back, ten times, under traffic.

    migration.py [split|packed] …

Two daemons, each with a tap on one bridge, as on two hosts; two QEMUs, of which one waits. They are two
builds where VIONIC_OTHER names a second one. One TCP connection lives through all hops: random bytes go to
the guest, which sends them back, and every one is compared.
"""

import contextlib
import os
import random
import selectors
import socket
import sys
import threading
import time

import cases
import daemon as daemons
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import QemuGuest
from monitor import Monitor
from network import Network, need

MAC = "52:54:00:00:00:0a"
HOPS = 10
# No multiple of 256 KiB: QEMU 7.2 without KVM loses stores of a guest whose memory is one, because it
# takes 64 pages' dirty bits at once then and leaves the translations that would set them again. (It does
# so without any NIC, about once in twenty moves of a busy guest.)
MEMORY = "131080K"
ECHO_PORT = 9000
OUTSTANDING = 256 << 10  # bytes on their way to the guest and back
CHUNK = 32 << 10
PATIENCE = 20  # seconds without a byte
MOVED_BETWEEN_HOPS = 1 << 20


class Echo(threading.Thread):
    """The host's end of the connection: what came back, compared with what was sent."""

    def __init__(self, connection):
        super().__init__(daemon=True)
        self._connection = connection
        self._random = random.Random(4711)
        self._expected = bytearray()
        self._ending = False
        self.verified = 0
        self.longest_gap = 0.0
        self.fault = None
        self.start()

    def run(self):
        try:
            self._connection.setblocking(False)
            with selectors.DefaultSelector() as selector:
                selector.register(self._connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
                self._pump(selector)
        except Exception as problem:  # pylint: disable=broad-except
            self.fault = repr(problem)

    def _pump(self, selector):
        heard = time.monotonic()
        pending = b""
        while not (self._ending and not self._expected):
            room = not self._ending and len(self._expected) < OUTSTANDING
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if room or pending else 0)
            selector.modify(self._connection, wanted)
            for _, events in selector.select(0.2):
                if events & selectors.EVENT_WRITE:
                    pending = pending or self._next_chunk()
                    pending = pending[self._connection.send(pending):]
                if events & selectors.EVENT_READ:
                    self._compare(self._connection.recv(1 << 16))
                    self.longest_gap = max(self.longest_gap, time.monotonic() - heard)
                    heard = time.monotonic()
            cases.expect(time.monotonic() - heard < PATIENCE, f"nothing came for {PATIENCE} s")

    def _next_chunk(self):
        chunk = self._random.randbytes(CHUNK)
        self._expected += chunk
        return chunk

    def _compare(self, data):
        cases.expect(data, "the guest has closed the connection")
        cases.expect(data == self._expected[:len(data)],
                     f"other bytes came back, some after the first {self.verified}")
        del self._expected[:len(data)]
        self.verified += len(data)

    def expect_more(self, count):
        target = self.verified + count
        cases.eventually(lambda: self.fault or self.verified >= target, PATIENCE + 10,
                         f"{count} more bytes come back")
        cases.expect(self.fault is None, self.fault)

    def finish(self):
        """All that is on its way comes back."""
        self._ending = True
        self.join(PATIENCE + 10)
        cases.expect(not self.is_alive() and self.fault is None, self.fault or "no end")


class Host:
    """One of the two: a daemon, and the sockets of whatever QEMU stands in front of it."""

    def __init__(self, folder, network, name, tap, program):
        self.folder = os.path.join(folder.path, name)
        os.mkdir(self.folder)
        self.socket = self.path("nic.sock")
        nic = f"name=n,socket={self.socket},mac={MAC},endpoint=tap:ifname={tap}"
        self.daemon = Daemon(self, [nic], network, program=program)
        wait_for_socket(self.socket)

    def path(self, name):
        return os.path.join(self.folder, name)

    __truediv__ = path

    def qemu(self, properties, incoming=None):
        monitor = self.path("monitor.sock")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(monitor)
        return QemuGuest([{"socket": self.socket, "mac": MAC, "properties": properties}],
                         memory=MEMORY, monitor=monitor, incoming=incoming)

    def monitor(self):
        return Monitor(self.path("monitor.sock"))


def main(test):
    formats = sys.argv[1:] or ["split"]
    first = daemons.executable()
    second = os.environ.get("VIONIC_OTHER", "")
    second = second if os.path.exists(second) else first
    print(f"# from {first}\n# to   {second}", flush=True)
    with Network() as network, Folder() as folder:
        for tap in ("tap0", "tap1"):
            network.add_tap(tap)
        network.bridge("br0", "tap0", "tap1")
        network.bring_up("br0", f"{traffic.HOST}/24")
        hosts = [Host(folder, network, "a", "tap0", first),
                 Host(folder, network, "b", "tap1", second)]
        with hosts[0].daemon, hosts[1].daemon:
            for name in formats:
                travel(test, network, hosts, name)
            with test.case("both daemons end with status 0 on SIGTERM"):
                for host in hosts:
                    host.daemon.stop()


def travel(test, network, hosts, name):
    properties = "packed=on" if name == "packed" else ""
    guest = hosts[0].qemu(properties)
    try:
        guest.wait_until_ready()
        with test.case(f"{name}: the guest has its network, and a connection that echoes"):
            traffic.set_address(guest)
            traffic.ping(guest)
            mark = guest.check("cat /proc/sys/kernel/random/boot_id")
            echo = Echo(connect_echo(network, guest))
            echo.expect_more(MOVED_BETWEEN_HOPS)
        downtimes = []
        for hop in range(HOPS):
            with test.case(f"{name}: hop {hop + 1}, from {hop % 2} to {(hop + 1) % 2}"):
                guest, said = move(hosts[hop % 2], hosts[(hop + 1) % 2], guest, properties)
                downtimes.append(said["downtime"])
                echo.expect_more(MOVED_BETWEEN_HOPS)
                print(f"#   {said['total-time']} ms in all, {said['downtime']} ms down, "
                      f"{said['ram']['transferred'] >> 20} MiB", flush=True)
        with test.case(f"{name}: every byte came back, the guest is the same"):
            echo.finish()
            cases.expect_equal(guest.check("cat /proc/sys/kernel/random/boot_id"), mark, "boot")
            cases.expect_equal(guest.check("dmesg | grep -ci 'virtio_net.*reset' || true"), "0",
                               "resets")
            traffic.ping(guest)
            for host in hosts:
                check_counters(host.daemon)
        print(f"# {name}: down {min(downtimes)} to {max(downtimes)} ms, longest silence "
              f"{echo.longest_gap:.2f} s, {echo.verified >> 20} MiB compared", flush=True)
    finally:
        guest.kill()


def connect_echo(network, guest):
    """The guest connects, and sends back whatever comes."""
    with network.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((traffic.HOST, ECHO_PORT))
        listener.listen()
        listener.settimeout(PATIENCE)
        guest.check(f"(nc {traffic.HOST} {ECHO_PORT} -e cat >/dev/null 2>&1 &)")
        return listener.accept()[0]


def move(source, target, guest, properties):
    """The guest goes on as another QEMU's; returns that, and what QEMU said."""
    uri = f"unix:{target.path('incoming.sock')}"
    arrived = target.qemu(properties, incoming=uri)
    try:
        with target.monitor():  # it is there, and waits
            pass
        with source.monitor() as monitor:
            said = monitor.migrate(uri)
        guest.kill()
        cases.expect(source.daemon.is_alive() and target.daemon.is_alive(), "a daemon has ended")
        arrived.check("true")  # its console answers
    except BaseException:
        arrived.kill()
        raise
    return arrived, said


def check_counters(daemon):
    """Each hop shared a log, which was large enough."""
    shown = daemon.nic("n")
    cases.expect_equal(shown["vhost_user"]["refused"], 0, "refused messages")
    cases.expect(shown["vhost_user"]["dirty_log"]["shared"] >= HOPS / 2, shown["vhost_user"])
    cases.expect_equal(shown["vhost_user"]["dirty_log"]["lost"], 0, "lost logs")


if __name__ == "__main__":
    need()
    cases.run(main)

# SPDX-License-Identifier: MIT
"""What the parts of control_plane.py share: the guest, the host's end of its network, and both at once."""

import contextlib
import re
import socket
import threading
from dataclasses import dataclass

import cases
import traffic
from daemon import Daemon
from guest import Guest
from network import Network
from wire import BROADCAST, Frame, Wire, ethernet

MAC = "52:54:00:00:00:0c"
TAP = "tap0"
MTU = 9000
PAIRS = 4
FORWARDED_PORT = 8080  # of the host, into the NAT network's guest, where it is 80
HOST6 = "fd09::1"
GUEST6 = "fd09::2"

LAST = ethernet(BROADCAST, b"last")


@dataclass
class Bed:
    guest: Guest
    network: Network
    daemon: Daemon
    wire: Wire

    def set_up(self):
        self.guest.check("httpd -p 80 -h /tmp")
        traffic.set_address(self.guest, mtu=1500)
        self.guest.check(f"ip address add {GUEST6}/64 dev eth0")
        self.network.run("ip", "address", "add", f"{HOST6}/64", "dev", TAP, "nodad")
        for host in (traffic.HOST, HOST6):
            cases.eventually(lambda: traffic.answers(self.guest, host), 10, f"{host} answers")

    def be_quiet(self):
        """No frame from now on that nobody asked for, either way: no IPv6, and neither end asks
        whether the other is still there."""
        self.network.run("sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{TAP}/disable_ipv6")
        self.guest.check("echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6")
        host_mac = self.network.run("cat", f"/sys/class/net/{TAP}/address").strip()
        self.guest.check(f"arp -s {traffic.HOST} {host_mac}")
        self.network.run("ip", "neighbour", "replace", traffic.GUEST, "lladdr", MAC, "dev", TAP,
                         "nud", "permanent")
        self.arrivals([])

    def inspect(self):
        return self.daemon.nic("tap")

    def features(self, which="agreed"):
        """What the NIC and the guest's driver agreed on, or what the NIC offered."""
        return set(self.inspect()[f"{which}_features"].split())

    def arrivals(self, frames, macs=()):
        """What comes to the guest's eth0, which takes frames for the MACs too, while these are sent."""
        self.guest.start(f"frames listen eth0 {' '.join(macs)}")
        self.guest.hear(b"listening\n")
        for frame in [*frames, LAST]:
            self.wire.send(frame)
        status, output = self.guest.finish("frames listen")
        cases.expect_equal(status, 0, f"status of the listener, which says {output}")
        return [parse_frame(line) for line in output.splitlines() if line]

    def end_listening(self):
        """For a `frames listen` that was begun."""
        self.wire.send(LAST)

    def fetch(self, address, port=80):
        """The guest's /tmp/up, by HTTP: the guest sends it with sendfile(), so in large pieces."""
        answer = b""
        with self._socket(address) as client:
            client.settimeout(20)
            client.connect((address, port))
            client.sendall(b"GET /up HTTP/1.0\r\n\r\n")
            while data := client.recv(1 << 20):
                answer += data
        return answer.partition(b"\r\n\r\n")[2]

    @contextlib.contextmanager
    def offer(self, address, data):
        """A port of the host that gives the data to the one who calls."""
        def serve():
            peer = server.accept()[0]
            with peer:
                peer.settimeout(20)
                peer.sendall(data)

        with self._socket(address) as server:
            server.bind((address, 0))
            server.listen()
            server.settimeout(20)
            thread = threading.Thread(target=serve)
            thread.start()
            yield server.getsockname()[1]
            thread.join(30)

    def _socket(self, address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return self.network.socket(family, socket.SOCK_STREAM)

    def set_offloads(self, interface="eth0", **settings):
        """ethtool -K: tso=False stands for `tso off`."""
        words = " ".join(f"{name} {'on' if on else 'off'}" for name, on in settings.items())
        self.guest.check(f"ethtool -K {interface} {words}")

    def offloads(self, interface="eth0"):
        """ethtool -k: name -> (on, may be changed)."""
        output = self.guest.check(f"ethtool -k {interface}")
        return {name: (state == "on", not fixed) for name, state, fixed in
                re.findall(r"^\s*([\w-]+): (on|off)( \[fixed\])?", output, re.MULTILINE)}

    def statistics(self):
        """ethtool -S: name -> value."""
        output = self.guest.check("ethtool -S eth0")
        return {name: int(value) for name, value in re.findall(r"(\w+): (\d+)", output)}


def parse_frame(line):
    flags, gso_type, gso_size, length, data = line.split()
    return Frame(int(flags), int(gso_type), int(gso_size), int(length), bytes.fromhex(data))

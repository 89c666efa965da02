# SPDX-License-Identifier: MIT
"""A guest on the NAT network of the endpoint `user`: DHCP, the gateway, downloads, forwarded ports.

The daemon runs in a network namespace of the test's own, where 127.0.0.1 is all there is.
"""

import hashlib
import os
import subprocess

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import UmlGuest
from network import Network

MAC = "52:54:00:00:00:02"
ECHO_PORT = 2222
GATEWAY = "10.0.2.2"
LEASE = "10.0.2."
MEGABYTES = 16


def main(test):
    with Network() as network, Folder() as folder:
        socket = folder / "nic.sock"
        endpoint = (f"user:hostfwd=tcp:127.0.0.1:{ECHO_PORT}-:7,"
                    f"hostfwd=tcp:127.0.0.1:{traffic.IPERF_PORT}-:{traffic.IPERF_PORT},"
                    f"hostfwd=udp:127.0.0.1:{traffic.IPERF_PORT}-:{traffic.IPERF_PORT}")
        with Daemon(folder, [f"name=n,socket={socket},mac={MAC},endpoint={endpoint}"],
                    network) as daemon:
            wait_for_socket(socket)
            with UmlGuest([socket]) as guest:
                use_guest(test, guest, network, folder)
                with test.case("no frame was dropped"):
                    pair = daemon.pair("n")
                    cases.expect(pair["tx_dropped"] == 0 and pair["rx_dropped"] == 0, pair)
                take_over(test, guest, network, folder, daemon)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


def use_guest(test, guest, network, folder):
    with test.case("DHCP gives an address, a route and a name server"):
        guest.check("udhcpc -i eth0 -n -q", 30)
        cases.expect(LEASE in guest.check("ip -4 address show eth0"), "no address")
        cases.expect(f"default via {GATEWAY}" in guest.check("ip route"), "no route")
        cases.expect(LEASE in guest.check("cat /etc/resolv.conf"), "no name server")
    with test.case("the gateway answers pings"):
        traffic.ping(guest, GATEWAY)
    with test.case("the gateway answers IPv6 pings"):
        cases.eventually(lambda: "fec0:" in guest.check("ip -6 address show eth0"), 20,
                         "the router gives an IPv6 prefix")
        guest.check("ping -6 -c 2 -W 5 fec0::2")
    with test.case(f"a download of {MEGABYTES} MB keeps its checksum"):
        download_through(guest, network, folder)
    with test.case("four downloads at once keep their checksums"):
        download_through(guest, network, folder, 4)
    with test.case("a TCP port of the host leads into the guest"):
        call_guest(guest, network)
    with test.case("TCP through a forwarded port, both ways"):
        for way in ([], ["-R"]):
            call_iperf(guest, network, *way)
    with test.case("UDP through a forwarded port"):
        call_iperf(guest, network, "-u", "-b", "10M", "-l", "1200")


def take_over(test, guest, network, folder, daemon):
    """Connections of the guest end with the old daemon; all else is as it was."""
    with test.case("a new daemon takes over: the guest keeps its address and goes on"):
        before = guest.check("ip -4 address show eth0")
        with traffic.running(network, "busybox", "nc", "-l", "-p", str(traffic.WEB_PORT),
                             stdin=subprocess.PIPE):
            traffic.wait_for_port(network, traffic.WEB_PORT)
            guest.start(f"nc {GATEWAY} {traffic.WEB_PORT} </dev/zero >/dev/null")
            for _ in range(3):
                daemon.upgrade()
        guest.finish(timeout=60)  # it was told that its connection is over
        traffic.ping(guest, GATEWAY)
        guest.check("udhcpc -i eth0 -n -q", 30)
        cases.expect_equal(guest.check("ip -4 address show eth0"), before, "the guest's address")
    with test.case("downloads and forwarded ports after the takeover"):
        download_through(guest, network, folder)
        call_guest(guest, network)


def download_through(guest, network, folder, count=1):
    """From a server on the host's loopback interface, which the guest reaches as its gateway."""
    data = os.urandom(MEGABYTES << 20)
    with open(folder / "data", "wb") as file:
        file.write(data)
    with traffic.running(network, "python3", "-m", "http.server", str(traffic.WEB_PORT),
                         "--bind", "127.0.0.1", "--directory", folder.path):
        traffic.wait_for_port(network, traffic.WEB_PORT)
        fetch = f"wget -q -O - http://{GATEWAY}:{traffic.WEB_PORT}/data | sha256sum"
        jobs = " ".join(f"({fetch} >/tmp/sum{i}) &" for i in range(count))
        sums = guest.check(f"{jobs} wait; cat /tmp/sum*; rm /tmp/sum*", 120).split()[::2]
    cases.expect_equal(sums, [hashlib.sha256(data).hexdigest()] * count, "checksums")


def call_guest(guest, network):
    """Says something to a program in the guest that gives it back in capitals."""
    guest.check("(nc -l -p 7 -e tr a-z A-Z) >/dev/null 2>&1 &")
    traffic.wait_for_guest_port(guest, 7)
    line, count = "the guest hears this\n", 1000
    script = (f"import socket, sys\n"
              f"peer = socket.create_connection(('127.0.0.1', {ECHO_PORT}), 10)\n"
              f"peer.sendall({line!r}.encode() * {count})\n"
              f"peer.shutdown(socket.SHUT_WR)\n"
              f"sys.stdout.write(peer.makefile().read())\n")
    answer = network.run("python3", "-c", script)
    cases.expect_equal(answer, line.upper() * count, "the guest's answer")


def call_iperf(guest, network, *arguments):
    """From the host, to a server that the guest runs once."""
    guest.check("iperf3 -s -1 >/dev/null 2>&1 &")
    traffic.wait_for_guest_port(guest, traffic.IPERF_PORT)
    network.run("iperf3", "-c", "127.0.0.1", "-t", "2", *arguments)
    guest.check("wait")


if __name__ == "__main__":
    cases.run(main)

# SPDX-License-Identifier: MIT
"""Traffic between a guest and the host's end of its network, and what the two and the NIC counted.

The host's end is an interface in the test's Network; the host's programs run there.
"""

import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess

import cases
from daemon import die_with_parent

HOST = "10.9.0.1"
GUEST = "10.9.0.2"
IPERF_PORT = 5201
WEB_PORT = 8000
UPLOAD_PORT = 8001


def set_address(guest, interface="eth0", address=GUEST, mtu=None):
    guest.check(f"ip address replace {address}/24 dev {interface}")
    guest.check(f"ip link set {interface} {f'mtu {mtu} ' if mtu else ''}up")


def ping(guest, address=HOST, count=3, size=56, interval=0.2):
    """Every ping must be answered."""
    output = guest.check(f"ping -q -c {count} -i {interval} -s {size} -W 5 {address}", 60)
    cases.expect(f"{count} packets received" in output, output)


def answers(guest, address=HOST):
    """Whether one ping is answered within a second."""
    return guest.run(f"ping -q -c 1 -W 1 {address}")[0] == 0


@contextlib.contextmanager
def running(network, *command, **arguments):
    """A program in the network for as long as the block lasts."""
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = network.popen(*command, preexec_fn=die_with_parent, **{**quiet, **arguments})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_port(network, port, protocol="t"):
    cases.eventually(lambda: f":{port} " in network.run("ss", f"-Hnl{protocol}"), 10,
                     f"port {port} listens", 0.05)


def wait_for_guest_port(guest, port):
    cases.eventually(lambda: f":{port} " in guest.check("netstat -ltn"), 20,
                     f"port {port} of the guest listens", 0.1)


@contextlib.contextmanager
def iperf_server(network):
    with running(network, "iperf3", "-s"):
        wait_for_port(network, IPERF_PORT)
        yield


def iperf(guest, arguments, seconds=1, server=HOST):
    """The summary that iperf3 gives: bits_per_second, lost_percent and so on, as received."""
    output = guest.check(f"iperf3 -J -c {server} -t {seconds} {arguments}", seconds + 40)
    end = json.loads(output)["end"]
    return end["sum"] if "-u" in arguments.split() else end["sum_received"]


def expect_tcp(guest, arguments="", seconds=1, megabits=1):
    result = iperf(guest, arguments, seconds)
    rate = result["bits_per_second"] / 1e6
    cases.expect(rate >= megabits, f"only {rate:.1f} Mbit/s")
    return rate


def socket_overruns(text):
    """RcvbufErrors of /proc/net/snmp: datagrams that arrived at a socket nobody read in time."""
    names, values = (line.split()[1:] for line in text.splitlines() if line.startswith("Udp:"))
    return int(dict(zip(names, values))["RcvbufErrors"])


def expect_udp(guest, receiver_snmp, arguments="", megabits=20, length=1400, most_lost_percent=10):
    """receiver_snmp() reads /proc/net/snmp where the datagrams go. What a slow receiver's own socket
    overran is not lost on the way; only the rest counts."""
    overruns = socket_overruns(receiver_snmp())
    result = iperf(guest, f"-u -b {megabits}M -l {length} {arguments}")
    overruns = socket_overruns(receiver_snmp()) - overruns
    cases.expect(result["packets"] > 100, f"only {result['packets']} datagrams were sent")
    lost = 100 * (result["lost_packets"] - overruns) / result["packets"]
    cases.expect(lost <= most_lost_percent,
                 f"{lost:.1f} % of the datagrams were lost on the way, {overruns} in the socket")


def download(guest, network, folder, megabytes=8):
    """The guest fetches random bytes from the host; the checksums must be equal."""
    data = os.urandom(megabytes << 20)
    os.makedirs(folder / "web", exist_ok=True)
    with open(folder / "web/data", "wb") as file:
        file.write(data)
    with running(network, "python3", "-m", "http.server", str(WEB_PORT), "--directory",
                 folder / "web"):
        wait_for_port(network, WEB_PORT)
        output = guest.check(f"wget -q -O - http://{HOST}:{WEB_PORT}/data | sha256sum", 90)
    cases.expect_equal(output.split()[0], hashlib.sha256(data).hexdigest(), "checksum of a download")


def upload(guest, network, folder, megabytes=8):
    """The guest sends random bytes to the host; the checksums must be equal."""
    expected = guest.check(f"dd if=/dev/urandom of=/tmp/up bs=1M count={megabytes} 2>/dev/null; "
                           "sha256sum /tmp/up", 60).split()[0]
    with open(folder / "upload", "wb") as file, \
            running(network, "busybox", "nc", "-l", "-p", str(UPLOAD_PORT), stdout=file,
                    stdin=subprocess.PIPE) as sink:  # at the end of its input it would hang up
        wait_for_port(network, UPLOAD_PORT)
        guest.check(f"nc {HOST} {UPLOAD_PORT} </tmp/up; rm /tmp/up", 90)
        sink.wait(30)
    with open(folder / "upload", "rb") as file:
        actual = hashlib.sha256(file.read()).hexdigest()
    cases.expect_equal(actual, expected, "checksum of an upload")


def guest_counters(guest, interface="eth0"):
    """rx_packets, tx_bytes and so on as the guest's kernel counts them."""
    output = guest.check(f"cd /sys/class/net/{interface}/statistics && grep . *; cd /")
    return {name: int(value) for name, value in re.findall(r"(\w+):(\d+)", output)}


def host_counters(network, interface):
    statistics = json.loads(network.run("ip", "-j", "-s", "link", "show", interface))[0]["stats64"]
    return {f"{way}_{name}": value
            for way in ("rx", "tx") for name, value in statistics[way].items()}


def guest_driver_path():
    return "/sys/bus/virtio/drivers/virtio_net"


def rebind(guest, device="virtio0"):
    """Takes the driver off the NIC and puts it back: a device reset, twice."""
    guest.check(f"echo {device} >{guest_driver_path()}/unbind && "
                f"echo {device} >{guest_driver_path()}/bind")


def free_port():
    """A TCP port of the loopback interface that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

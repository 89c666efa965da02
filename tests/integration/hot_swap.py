# SPDX-License-Identifier: MIT
"""A real Linux guest whose card is moved to other endpoints, and whose endpoint dies, while TCP connections run."""

import contextlib
import hashlib
import os
import subprocess

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import UmlGuest
from network import Network, need

MAC = "52:54:00:00:00:0d"
TAPS = ("tap0", "tap1")
BRIDGE = "br0"
PORT = 8001
SWAPS = 4
RECOVERY = 20  # seconds


def main(test):
    with Network() as network, Folder() as folder:
        socket = folder / "nic.sock"
        for tap in TAPS:
            network.add_tap(tap)
        network.bridge(BRIDGE, *TAPS)
        network.bring_up(BRIDGE, f"{traffic.HOST}/24")
        nic = f"name=n,socket={socket},mac={MAC},endpoint=tap:ifname={TAPS[0]}"
        allow = ["--sandbox-allow", "tap,user,stream"]
        with Daemon(folder, [nic], network, allow) as daemon:
            wait_for_socket(socket)
            with UmlGuest([socket]) as guest:
                traffic.set_address(guest)
                traffic.ping(guest)
                from_tap_to_tap(test, guest, network, folder, daemon)
                tap_dies(test, guest, network, folder, daemon)
                from_tap_to_user(test, guest, network, daemon)
                from_user_to_tap(test, guest, daemon)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


@contextlib.contextmanager
def upload(guest, network, folder, megabytes):
    """The guest sends random bytes over one connection, slowly enough for what the block does."""
    expected = guest.check(f"dd if=/dev/urandom of=/tmp/up bs=1M count={megabytes} 2>/dev/null; "
                           "sha256sum /tmp/up", 60).split()[0]
    path = folder / "upload"
    with open(path, "wb") as file, \
            traffic.running(network, "busybox", "nc", "-l", "-p", str(PORT), stdout=file,
                            stdin=subprocess.PIPE) as sink:
        traffic.wait_for_port(network, PORT)
        guest.start(f"(for i in $(seq 0 {megabytes - 1}); do "
                    "dd if=/tmp/up bs=1M skip=$i count=1 2>/dev/null; sleep 0.3; done) "
                    f"| nc {traffic.HOST} {PORT}")
        yield lambda: os.path.getsize(path)
        status, output = guest.finish("the upload", 90)
        cases.expect_equal(status, 0, f"status of the upload, which says {output}")
        sink.wait(30)
    with open(path, "rb") as file:
        cases.expect_equal(hashlib.sha256(file.read()).hexdigest(), expected, "checksum")


def from_tap_to_tap(test, guest, network, folder, daemon):
    with test.case(f"tap to tap and back, {SWAPS} times: a TCP connection goes on, nothing is lost of it"):
        with upload(guest, network, folder, 5) as arrived:
            for i in range(SWAPS):
                before = arrived()
                daemon.must_set(f"n.endpoint=tap:ifname={TAPS[(i + 1) % 2]}")
                cases.eventually(lambda: arrived() > before, RECOVERY, "bytes arrive again", 0.05)
    with test.case("the bridge has learned where the guest is, and the guest was not reset"):
        nic = daemon.nic("n")
        cases.expect_equal(nic["endpoint_swaps"], SWAPS, "swaps")
        cases.expect_equal(nic["endpoint"]["ifname"], TAPS[0], "interface")
        cases.expect_equal(nic["announce_pending"], False, "announcement that is due")
        traffic.ping(guest)
        learned = network.run("bridge", "fdb", "show", "dev", TAPS[0])
        cases.expect(MAC in learned, f"the bridge knows {learned}")
    with test.case("a tap that is not there is refused, and nothing changes"):
        status, complaint = daemon.set("n.endpoint=tap:ifname=much-too-long-a-name")
        cases.expect(status != 0 and "ifname=" in complaint, f"{status}: {complaint}")
        traffic.ping(guest)


def tap_dies(test, guest, network, folder, daemon):
    with test.case("the tap is deleted and made again: the TCP connection goes on"):
        with upload(guest, network, folder, 5) as arrived:
            network.run("ip", "link", "del", TAPS[0])
            cases.eventually(lambda: daemon.nic("n")["endpoint_state"] == "gone", RECOVERY, "gone")
            cases.expect_equal(daemon.nic("n")["link"], "down", "link")
            network.add_tap(TAPS[0])
            network.run("ip", "link", "set", TAPS[0], "master", BRIDGE, "up")
            before = arrived()
            cases.eventually(lambda: arrived() > before, RECOVERY, "bytes arrive again", 0.05)
        cases.expect_equal(daemon.nic("n")["endpoint_failures"], 1, "times that it went away")


def from_tap_to_user(test, guest, network, daemon):
    with test.case("tap to user: the guest gets an address of the NAT network"):
        daemon.must_set("n.endpoint=user")
        guest.check("ip address flush dev eth0; udhcpc -q -n -i eth0 -s /etc/udhcpc/default.script", 60)
        cases.expect("10.0.2." in guest.check("ip address show eth0"), "its address")
    with test.case("… and a new connection, to the host"):
        with traffic.running(network, "python3", "-m", "http.server", str(traffic.WEB_PORT),
                             "--directory", "/proc/self/net"):
            traffic.wait_for_port(network, traffic.WEB_PORT)
            output = guest.check(f"wget -q -O - http://10.0.2.2:{traffic.WEB_PORT}/ | head -c 9", 60)
            cases.expect(output, "an answer")


def from_user_to_tap(test, guest, daemon):
    with test.case("user to stream to null to tap: the guest is on the bridge again"):
        for endpoint in ("stream:path=/nowhere", "null", f"tap:ifname={TAPS[1]}"):
            daemon.must_set(f"n.endpoint={endpoint}")
        guest.check("ip address flush dev eth0")
        traffic.set_address(guest)
        cases.eventually(lambda: traffic.answers(guest), RECOVERY, "a ping is answered")
        traffic.ping(guest)


if __name__ == "__main__":
    need()
    cases.run(main)

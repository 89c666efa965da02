# SPDX-License-Identifier: MIT
"""The NIC is reset again and again while frames come from both sides, and guests come and go."""

import sys

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import QemuGuest, UmlGuest
from network import Network, need

MAC = "52:54:00:00:00:03"
TAP = "tap0"
CYCLES = 100
DISCARD_PORT = 9

# Datagrams to the guest for ever: in bursts, or the guest would do nothing else.
FLOOD = f"""
import socket, time
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for _ in range(20):
        try:
            sink.sendto(bytes(1400), ("{traffic.GUEST}", {DISCARD_PORT}))
        except OSError:
            pass
    time.sleep(0.005)
"""

# Takes what the guest sends, one connection after the other.
SINK = f"""
import socket
listener = socket.create_server(("{traffic.HOST}", {DISCARD_PORT}))
while True:
    peer = listener.accept()[0]
    peer.settimeout(1)
    try:
        while peer.recv(1 << 20):
            pass
    except OSError:
        pass
"""


def main(test):
    kind = sys.argv[1]
    with Network() as network, Folder() as folder:
        socket = folder / "nic.sock"
        nic = f"name=n,socket={socket},mac={MAC},endpoint=tap:ifname={TAP}"
        with Daemon(folder, [nic], network) as daemon:
            wait_for_socket(socket)
            network.bring_up(TAP, f"{traffic.HOST}/24")
            # The host must not stop sending because it can't resolve the address during a reset.
            network.run("ip", "neighbour", "replace", traffic.GUEST, "lladdr", MAC, "dev", TAP)
            with boot(kind, socket) as guest:
                reset_often(test, guest, network, daemon)
                if kind == "qemu":
                    reboot(test, guest)
                with test.case("the guest is killed in the middle of traffic"):
                    with flood(network):
                        guest.kill()
                    cases.expect(daemon.is_alive(), daemon.log())
            with boot(kind, socket) as second, \
                    test.case("a second guest takes the NIC on the same socket"):
                traffic.set_address(second)
                traffic.ping(second)
                traffic.download(second, network, folder, 2)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


def boot(kind, socket):
    if kind == "uml":
        return UmlGuest([socket])
    return QemuGuest([{"socket": socket, "mac": MAC}], reboots=True)


def flood(network):
    return traffic.running(network, "python3", "-c", FLOOD)


def reset_often(test, guest, network, daemon):
    with test.case("the guest is there before the first reset"):
        traffic.set_address(guest)
        traffic.ping(guest)
        sender = f"nc {traffic.HOST} {DISCARD_PORT}"
        guest.check(f"(while :; do {sender} </dev/zero; sleep 0.02; done) >/dev/null 2>&1 &")
    with flood(network), traffic.running(network, "python3", "-c", SINK), \
            test.case(f"{CYCLES} driver resets under traffic, a ping after each"):
        for cycle in range(CYCLES):
            traffic.rebind(guest)
            traffic.set_address(guest)
            cases.expect(any(traffic.answers(guest) for _ in range(5)),
                         f"no ping after reset {cycle + 1}: {guest.tail(500)}")
    with test.case("frames came from both sides meanwhile, and no ring broke"):
        pair = daemon.pair("n")
        cases.expect(pair["rx_packets"] > 10 * CYCLES and pair["tx_packets"] > 2 * CYCLES, pair)
        for ring in ("rx_ring", "tx_ring"):
            cases.expect_equal(pair[ring]["state"], "running", ring)
    guest.check("kill $!; killall nc; true")


def reboot(test, guest):
    with test.case("the guest reboots and has its network again"):
        guest.start("reboot -f")
        guest.wait_until_ready()
        traffic.set_address(guest)
        traffic.ping(guest)


if __name__ == "__main__":
    need()
    cases.run(main)

# SPDX-License-Identifier: MIT
"""A Linux guest on a tap: everything that its user would try.

    tap_guest.py uml|qemu|qemu-packed
    tap_guest.py uml --smoke      ten seconds' worth
"""

import subprocess
import sys

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import QemuGuest, UmlGuest
from network import Network, need

MAC = "52:54:00:00:00:01"
TAP = "tap0"
LINK_LOCAL = f"fe80::5054:ff:fe00:1%{TAP}"  # what the guest makes of its MAC
JUMBO = 9000
TSO_FRAME = 60000  # bytes; segmentation offload makes frames of up to 64 KB


def main(test):
    kind = sys.argv[1]
    with Network() as network, Folder() as folder:
        socket = folder / "nic.sock"
        nic = f"name=n,socket={socket},mac={MAC},mtu={JUMBO},endpoint=tap:ifname={TAP}"
        with Daemon(folder, [nic], network) as daemon:
            wait_for_socket(socket)
            network.bring_up(TAP, f"{traffic.HOST}/24", JUMBO)
            with boot(kind, socket) as guest:
                if "--smoke" in sys.argv:
                    smoke(test, guest, network, folder)
                else:
                    use_guest(test, guest, network, folder, daemon)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


def boot(kind, socket):
    if kind == "uml":
        return UmlGuest([socket])
    # QEMU tells the guest an MTU only if it is told one itself.
    packed = ",packed=on" if kind == "qemu-packed" else ""
    return QemuGuest([{"socket": socket, "mac": MAC, "properties": f"host_mtu={JUMBO}{packed}"}])


def smoke(test, guest, network, folder):
    with test.case("ping"):
        traffic.set_address(guest)
        traffic.ping(guest)
    with test.case("TCP both ways"), traffic.iperf_server(network):
        traffic.expect_tcp(guest)
        traffic.expect_tcp(guest, "-R")
    with test.case("a download keeps its checksum"):
        traffic.download(guest, network, folder)


def use_guest(test, guest, network, folder, daemon):
    with test.case("the driver finds the NIC, its MAC and its MTU"):
        link = guest.check("ip link show eth0")
        cases.expect(MAC in link and f"mtu {JUMBO} " in link, link)
        traffic.set_address(guest, mtu=1500)
    with test.case("ping"):
        traffic.ping(guest)
    with test.case("IPv6 ping"):
        cases.eventually(lambda: answers_ipv6(network), 20, "the guest answers at its own address")
    move_data(test, guest, network, folder, "with offloads")
    with test.case("a 64 KB segmentation frame crosses as one frame, both ways"):
        pair = daemon.pair("n")
        for way in ("tx", "rx"):
            cases.expect(pair[f"{way}_gso_packets"] > 0, pair)
            cases.expect(pair[f"{way}_largest_frame"] >= TSO_FRAME, pair)
    jumbo(test, guest, network)
    with test.case("offloads are switched off in the guest"):
        guest.check("ethtool -K eth0 tso off gso off gro off tx off")
    move_data(test, guest, network, folder, "without offloads")
    with test.case("offloads are switched on again"):
        guest.check("ethtool -K eth0 tx on gso on gro on tso on")
        with traffic.iperf_server(network):
            traffic.expect_tcp(guest)
    with test.case("the guest, the tap and the NIC count the same frames"):
        compare_counters(guest, network, daemon)
    with test.case("the driver is taken off and put back"):
        traffic.rebind(guest)
        traffic.set_address(guest)
        traffic.ping(guest)
        traffic.download(guest, network, folder, 2)


def answers_ipv6(network):
    ping = network.popen("busybox", "ping", "-6", "-q", "-c", "1", "-W", "1", LINK_LOCAL,
                         stdout=subprocess.DEVNULL)
    return ping.wait() == 0


def move_data(test, guest, network, folder, how):
    with traffic.iperf_server(network):
        with test.case(f"TCP from the guest {how}"):
            traffic.expect_tcp(guest)
        with test.case(f"TCP to the guest {how}"):
            traffic.expect_tcp(guest, "-R")
        with test.case(f"UDP from the guest {how}"):
            traffic.expect_udp(guest, lambda: network.run("cat", "/proc/net/snmp"))
        with test.case(f"UDP to the guest {how}"):
            traffic.expect_udp(guest, lambda: guest.check("cat /proc/net/snmp"), "-R")
    with test.case(f"a download keeps its checksum {how}"):
        traffic.download(guest, network, folder)
    with test.case(f"an upload keeps its checksum {how}"):
        traffic.upload(guest, network, folder)


def jumbo(test, guest, network):
    with test.case("jumbo frames: a ping of 8900 bytes travels in one piece"):
        guest.check(f"ip link set eth0 mtu {JUMBO}")
        before = traffic.host_counters(network, TAP)
        traffic.ping(guest, count=5, size=8900)
        after = traffic.host_counters(network, TAP)
        frames = after["rx_packets"] - before["rx_packets"]
        length = (after["rx_bytes"] - before["rx_bytes"]) / frames
        cases.expect(frames < 10 and length > 4500, f"{frames} frames of {length:.0f} bytes each")
    with test.case("jumbo frames: TCP both ways"), traffic.iperf_server(network):
        traffic.expect_tcp(guest)
        traffic.expect_tcp(guest, "-R")
        guest.check("ip link set eth0 mtu 1500")


def compare_counters(guest, network, daemon):
    """Frames may be on their way while the three are read, so a few more or less are nothing."""
    pair = daemon.pair("n")
    inside = traffic.guest_counters(guest)
    outside = traffic.host_counters(network, TAP)
    for name, other in (("tx_packets", "rx_packets"), ("rx_packets", "tx_packets")):
        cases.expect(pair[name] > 1000, f"{name} of the NIC is only {pair[name]}")
        for who, value in (("guest", inside[name]), ("tap", outside[other])):
            cases.expect(abs(pair[name] - value) <= 20,
                         f"{name} of the NIC is {pair[name]}, the {who} has {value}")
    cases.expect_equal(pair["tx_dropped"], 0, "tx_dropped of the NIC")
    unwanted = pair.get("rx_drops", {}).get("filtered", 0)  # multicast that the guest never joined
    cases.expect_equal(pair["rx_dropped"], unwanted, "rx_dropped of the NIC")


if __name__ == "__main__":
    need()
    cases.run(main)

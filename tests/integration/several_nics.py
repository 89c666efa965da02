# SPDX-License-Identifier: MIT
"""Two NICs in one daemon, two guests on one bridge: what happens to one is nothing to the other."""

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import UmlGuest
from network import Network, need

NICS = {"a": "52:54:00:00:00:0a", "b": "52:54:00:00:00:0b"}
SECOND = "10.9.0.3"


def main(test):
    with Network() as network, Folder() as folder:
        sockets = {name: folder / f"{name}.sock" for name in NICS}
        specs = [f"name={name},socket={sockets[name]},mac={mac},endpoint=tap:ifname=tap-{name}"
                 for name, mac in NICS.items()]
        with Daemon(folder, specs, network, ["--workers", "2"]) as daemon:
            for socket in sockets.values():
                wait_for_socket(socket)
            network.bridge("bridge", *(f"tap-{name}" for name in NICS))
            network.bring_up("bridge", f"{traffic.HOST}/24")
            with UmlGuest([sockets["a"]]) as first:
                with UmlGuest([sockets["b"]]) as second:
                    both(test, first, second, daemon)
                with test.case("one guest is gone, the other goes on"):
                    traffic.ping(first)
                    cases.expect(not traffic.answers(first, SECOND), "a guest that is gone answers")
            two_nics_in_one_guest(test, sockets)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


def both(test, first, second, daemon):
    with test.case("both guests reach the host"):
        traffic.set_address(first)
        traffic.set_address(second, address=SECOND)
        traffic.ping(first)
        traffic.ping(second)
    with test.case("the guests reach each other"):
        traffic.ping(first, SECOND)
        traffic.ping(second, traffic.GUEST)
    with test.case("TCP between the guests, both ways"):
        second.check("iperf3 -s >/dev/null 2>&1 &")
        traffic.wait_for_guest_port(second, traffic.IPERF_PORT)
        for way in ("", "-R"):
            rate = traffic.iperf(first, way, server=SECOND)["bits_per_second"] / 1e6
            cases.expect(rate > 1, f"only {rate:.1f} Mbit/s")
    with test.case("each NIC counts its own frames"):
        for name in NICS:
            pair = daemon.pair(name)
            cases.expect(pair["tx_packets"] > 100 and pair["rx_packets"] > 100, pair)
            drops = set(pair.get("rx_drops", {})) - {"filtered"}  # what the bridge floods
            cases.expect(pair["tx_dropped"] == 0 and not drops, pair)
    with test.case("one guest resets its NIC, the other does not notice"):
        first.start(f"ping -q -c 20 -i 0.1 -W 5 {traffic.HOST}")
        for _ in range(5):
            traffic.rebind(second)
        output = first.finish()[1]
        cases.expect("20 packets received" in output, output)


def two_nics_in_one_guest(test, sockets):
    with UmlGuest(sockets.values()) as guest, test.case("one guest has both NICs"):
        macs = guest.check("cat /sys/class/net/eth*/address").split()
        cases.expect_equal(sorted(macs), sorted(NICS.values()), "MAC addresses")
        for interface in ("eth0", "eth1"):
            traffic.set_address(guest, interface)
            traffic.ping(guest)
            guest.check(f"ip link set {interface} down; ip address flush dev {interface}")


if __name__ == "__main__":
    need()
    cases.run(main)

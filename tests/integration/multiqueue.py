# SPDX-License-Identifier: MIT
"""Two queue pairs: both carry frames, and the guest may switch between one and two while it runs.

    multiqueue.py uml|qemu
"""

import sys

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import QemuGuest, UmlGuest
from network import Network, need

MAC = "52:54:00:00:00:05"
TAP = "tap0"
STREAMS = 16  # so many that both pairs get some


def main(test):
    kind = sys.argv[1]
    with Network() as network, Folder() as folder:
        socket = folder / "nic.sock"
        nic = f"name=n,socket={socket},mac={MAC},queues=2,endpoint=tap:ifname={TAP}"
        with Daemon(folder, [nic], network, ["--workers", "2"]) as daemon:
            wait_for_socket(socket)
            network.bring_up(TAP, f"{traffic.HOST}/24")
            with boot(kind, socket) as guest:
                use_guest(test, guest, network, folder, daemon)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


def boot(kind, socket):
    if kind == "uml":
        return UmlGuest([socket])
    return QemuGuest([{"socket": socket, "mac": MAC, "queues": 2}], cpus=2)


def use_guest(test, guest, network, folder, daemon):
    with test.case("the guest sees two pairs"):
        traffic.set_address(guest)
        maximum = guest.check("ethtool -l eth0 | sed -n 's/^Combined:[[:space:]]*//p' | head -n 1")
        cases.expect_equal(maximum.strip(), "2", "the most pairs")
        set_pairs(guest, 2)
        traffic.ping(guest)
    with traffic.iperf_server(network):
        with test.case("both pairs bring frames to the guest"):
            before = [daemon.pair("n", index)["rx_packets"] for index in range(2)]
            traffic.iperf(guest, f"-R -P {STREAMS}")
            for index in range(2):
                more = daemon.pair("n", index)["rx_packets"] - before[index]
                cases.expect(more > 20, f"pair {index} brought {more} frames")
        with test.case("many streams from the guest"):
            traffic.iperf(guest, f"-P {STREAMS}")
        with test.case("down to one pair and up to two again, ten times under traffic"):
            guest.check(f"iperf3 -c {traffic.HOST} -t 30 -P 4 >/dev/null 2>&1 &")
            for _ in range(10):
                for pairs in (1, 2):
                    set_pairs(guest, pairs)
                    traffic.ping(guest, count=1)
            guest.check("killall iperf3")
    for pairs in (1, 2):
        with test.case(f"data keep their checksum with {pairs} of 2 pairs"):
            set_pairs(guest, pairs)
            traffic.download(guest, network, folder, 4)
            traffic.upload(guest, network, folder, 4)
    with test.case("no frame of an enabled pair was dropped, no ring broke"):
        for index in range(2):
            pair = daemon.pair("n", index)
            # A disabled ring's frames are discarded (VU-ST-03), before and after its endpoint's queue
            # is closed; the guest races with its own command.
            reasons = set(pair.get("tx_drops", {}))
            cases.expect(reasons <= {"disabled", "link_down"}, pair)
            for ring in ("rx_ring", "tx_ring"):
                cases.expect(pair[ring]["state"] != "broken", pair)


def set_pairs(guest, pairs):
    """ethtool calls it a failure to set what is set already."""
    guest.run(f"ethtool -L eth0 combined {pairs}")
    current = guest.check("ethtool -l eth0 | sed -n 's/^Combined:[[:space:]]*//p' | tail -n 1")
    cases.expect_equal(current.strip(), str(pairs), "pairs in use")


if __name__ == "__main__":
    need()
    cases.run(main)

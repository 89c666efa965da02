# SPDX-License-Identifier: MIT
"""What a Linux guest sets with ethtool and ip, and whether frames show it: on the tap and in the guest.

One guest with a NIC on a tap, one on a loopback and one on the NAT network.

    control_plane.py [PART…]     some of the parts, always in the same order
"""

import sys

import cases
import control_counters
import control_endpoints
import control_filters
import control_link
import control_offloads
import control_queues
from control_bed import FORWARDED_PORT, MAC, MTU, PAIRS, TAP, Bed
from daemon import Daemon, Folder, wait_for_socket
from guest import UmlGuest
from network import Network, need
from wire import Wire
import traffic

# In an order that one leaves to the next what it needs: IPv6 ends with the queues.
PARTS = {
    "offloads": control_offloads.run,
    "filters": control_filters.run,
    "link": control_link.run,
    "queues": control_queues.run,
    "counters": control_counters.run,
    "endpoints": control_endpoints.run,
}


def main(test):
    chosen = sys.argv[1:] or list(PARTS)
    with Network() as network, Folder() as folder:
        sockets = {name: folder / f"{name}.sock" for name in ("tap", "loop", "nat")}
        nics = [f"name=tap,socket={sockets['tap']},mac={MAC},mtu={MTU},queues={PAIRS},"
                f"endpoint=tap:ifname={TAP}",
                f"name=loop,socket={sockets['loop']},endpoint=loopback",
                f"name=nat,socket={sockets['nat']},"
                f"endpoint=user:hostfwd=tcp:127.0.0.1:{FORWARDED_PORT}-:80"]
        with Daemon(folder, nics, network, ["--workers", "2"]) as daemon:
            for socket in sockets.values():
                wait_for_socket(socket)
            network.bring_up(TAP, f"{traffic.HOST}/24")
            with UmlGuest(sockets.values()) as guest, Wire(network, TAP) as wire:
                bed = Bed(guest, network, daemon, wire)
                bed.set_up()
                for name, part in PARTS.items():
                    if name in chosen:
                        part(test, bed)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


if __name__ == "__main__":
    need()
    cases.run(main)

# SPDX-License-Identifier: MIT
"""A new daemon takes over while a guest on a tap moves data; the guest and its connections notice nothing.

    takeover_guest.py uml|qemu
"""

import re
import sys
import time

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import QemuGuest, UmlGuest
from network import Network, need

MAC = "52:54:00:00:00:05"
TAP = "tap0"
TIMES = 4


def main(test):
    with Network() as network, Folder() as folder:
        socket = folder / "nic.sock"
        nic = f"name=n,socket={socket},mac={MAC},endpoint=tap:ifname={TAP}"
        with Daemon(folder, [nic], network) as daemon:
            wait_for_socket(socket)
            network.bring_up(TAP, f"{traffic.HOST}/24")
            with boot(socket) as guest:
                take_over_often(test, guest, network, daemon, folder)
            with test.case("the last daemon ends with status 0 on SIGTERM"):
                daemon.stop()


def boot(socket):
    return UmlGuest([socket]) if sys.argv[1] == "uml" else QemuGuest([{"socket": socket, "mac": MAC}])


def take_over_often(test, guest, network, daemon, folder):
    with test.case("the guest has its network"):
        traffic.set_address(guest)
        traffic.ping(guest)
    with traffic.iperf_server(network):
        for way in ("", "-R"):
            with test.case(f"{TIMES} takeovers under one TCP connection {way}"):
                guest.start(f"iperf3 -J -c {traffic.HOST} -t 5 {way}")
                for _ in range(TIMES):
                    time.sleep(0.8)
                    daemon.upgrade()
                status, output = guest.finish(timeout=60)
                cases.expect(status == 0, output)
                sent = int(re.search(r'"sum_received":.*?"bytes":\s*(\d+)', output, re.S).group(1))
                cases.expect(sent > 1 << 20, f"only {sent} bytes came")
    with test.case("no ping is lost"):
        guest.start(f"ping -c 60 -i 0.05 -W 2 {traffic.HOST}")
        for _ in range(TIMES):
            daemon.upgrade()
        output = guest.finish(timeout=60)[1]
        cases.expect("60 packets received" in output, output)
    with test.case("data keep their checksum while a daemon takes over"):
        for _ in range(2):
            traffic.download(guest, network, folder, 4)
            daemon.upgrade()
            traffic.upload(guest, network, folder, 4)
    with test.case("the driver can be taken off and put back under the last of them"):
        traffic.rebind(guest)
        traffic.set_address(guest)
        traffic.ping(guest)
    pauses = re.findall(r"queues stood still for ([\d.]+) ms", daemon.log())
    print(f"# pauses in ms: {' '.join(pauses)}", flush=True)


if __name__ == "__main__":
    need()
    cases.run(main)

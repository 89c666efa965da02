# SPDX-License-Identifier: MIT
"""The daemon is killed and started again while a QEMU guest lives on; its network comes back."""

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import QemuGuest
from network import Network, need

MAC = "52:54:00:00:00:04"
TAP = "tap0"
RECOVERY = 20  # seconds; QEMU tries to connect once a second


def main(test):
    with Network() as network, Folder() as folder:
        socket = folder / "nic.sock"
        network.add_tap(TAP)  # it stays when the daemon dies, and so does its address
        network.bring_up(TAP, f"{traffic.HOST}/24")
        nic = f"name=n,socket={socket},mac={MAC},endpoint=tap:ifname={TAP}"
        with Daemon(folder, [nic], network) as daemon:
            wait_for_socket(socket)
            with QemuGuest([{"socket": socket, "mac": MAC, "reconnect": 1}]) as guest:
                restart_twice(test, guest, network, folder, daemon)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


def restart_twice(test, guest, network, folder, daemon):
    with test.case("the guest has its network"):
        traffic.set_address(guest)
        traffic.ping(guest)
        guest.check("echo still-the-same >/tmp/boot")
    with test.case("killed with SIGKILL under traffic and restarted: the guest goes on"):
        guest.check(f"ping -q -i 0.01 {traffic.HOST} >/dev/null 2>&1 &")
        daemon.kill()
        expect_no_network(guest)
        daemon.start()
        expect_same_guest_with_network(guest)
    with test.case("data keep their checksum afterwards"):
        traffic.download(guest, network, folder, 4)
        traffic.upload(guest, network, folder, 4)
    with test.case("ended with SIGTERM and restarted: the guest goes on"):
        daemon.stop()
        expect_no_network(guest)
        daemon.start()
        expect_same_guest_with_network(guest)


def expect_no_network(guest):
    """QEMU shows its guest a link that is down while no daemon is there."""
    cases.eventually(lambda: guest.check("cat /sys/class/net/eth0/carrier")[-1] == "0", RECOVERY, "the link is down")
    cases.expect(not traffic.answers(guest), "a ping was answered while no daemon ran")


def expect_same_guest_with_network(guest):
    cases.eventually(lambda: traffic.answers(guest), RECOVERY, "a ping is answered again")
    traffic.ping(guest)
    cases.expect_equal(guest.check("cat /tmp/boot"), "still-the-same", "the guest's memory")


if __name__ == "__main__":
    need()
    cases.run(main)

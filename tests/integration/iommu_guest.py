# SPDX-License-Identifier: MIT
"""A Linux guest whose IOMMU stands between its network card and its memory.

    iommu_guest.py split|packed

The card reaches what the guest's kernel maps for it, packet by packet (iommu.strict=1: nothing stays
mapped for longer), and data crosses unharmed.
"""

import sys

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import QemuGuest
from network import Network, need

MAC = "52:54:00:00:00:01"
TAP = "tap0"
CACHE_ENTRIES = 2048  # at most, says the manual


def main(test):
    packed = ",packed=on" if sys.argv[1] == "packed" else ""
    with Network() as network, Folder() as folder:
        socket = folder / "nic.sock"
        nic = f"name=n,socket={socket},mac={MAC},iommu=on,endpoint=tap:ifname={TAP}"
        with Daemon(folder, [nic], network) as daemon:
            wait_for_socket(socket)
            network.bring_up(TAP, f"{traffic.HOST}/24", 1500)
            card = {"socket": socket, "mac": MAC,
                    "properties": f"iommu_platform=on,ats=on,disable-legacy=on{packed}"}
            with QemuGuest([card], kernel_arguments="intel_iommu=on iommu.strict=1",
                           devices=["intel-iommu,intremap=on,device-iotlb=on"]) as guest:
                use_guest(test, guest, network, folder, daemon)


def use_guest(test, guest, network, folder, daemon):
    with test.case("the guest's kernel translates for the card, strictly"):
        kind = guest.check("cat /sys/class/net/eth0/device/../iommu_group/type")
        cases.expect_equal(kind.strip(), "DMA", "the card's IOMMU domain")
        cases.expect(told(daemon)["agreed"], told(daemon))
        traffic.set_address(guest)
    with test.case("ping"):
        traffic.ping(guest)
    with test.case("a download keeps its checksum"):
        traffic.download(guest, network, folder, 1)
    with test.case("an upload keeps its checksum"):
        traffic.upload(guest, network, folder, 1)
    with test.case("QEMU has nothing to complain of"):
        complaints = [line for line in guest.console.decode(errors="replace").splitlines()
                      if line.startswith("qemu-system") and "warning" not in line]
        cases.expect_equal(complaints, [], "complaints")
    with test.case("mappings came and went"):
        iommu = told(daemon)
        for name in ("misses", "updates", "invalidations"):
            cases.expect(iommu[name] > 100, f"{name}: {iommu}")
        cases.expect(iommu["refused"] == 0 and iommu["denied"] == 0, iommu)
        cases.expect(0 < iommu["entries"] <= CACHE_ENTRIES, iommu)
        cases.expect_equal(daemon.pair("n")["tx_dropped"], 0, "tx_dropped of the NIC")
    with test.case("the driver is taken off and put back"):
        traffic.rebind(guest)
        traffic.set_address(guest)
        traffic.ping(guest)


def told(daemon):
    return daemon.nic("n")["vhost_user"]["iommu"]


if __name__ == "__main__":
    need()
    cases.run(main)

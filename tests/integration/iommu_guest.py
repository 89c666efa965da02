# SPDX-License-Identifier: MIT
"""A Linux guest whose IOMMU stands between its network card and its memory.

The card reaches what the guest's kernel maps for it, packet by packet, and data crosses unharmed: with
mappings that go one by one as soon as they are done with (iommu.strict=1), and with Linux's default, which
takes all of them at once now and then, the rings' too.
"""

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import QemuGuest
from network import Network, need

MAC = "52:54:00:00:00:01"
TAP = "tap0"
CACHE_ENTRIES = 2048  # at most, says the manual


MODES = {  # kernel arguments, the domain's type in sysfs, fewest invalidations
    "strict": ("iommu.strict=1", "DMA", 100),
    "lazy": ("", "DMA-FQ", 10),
}


def main(test):
    boot(test, "strict", "")
    boot(test, "lazy", ",packed=on")


def boot(test, mode, packed):
    with Network() as network, Folder() as folder:
        socket = folder / "nic.sock"
        nic = f"name=n,socket={socket},mac={MAC},iommu=on,endpoint=tap:ifname={TAP}"
        with Daemon(folder, [nic], network) as daemon:
            wait_for_socket(socket)
            network.bring_up(TAP, f"{traffic.HOST}/24", 1500)
            card = {"socket": socket, "mac": MAC,  # it has ATS on a port only, not on the root bus
                    "properties": f"bus=slot0,iommu_platform=on,ats=on,disable-legacy=on{packed}"}
            with QemuGuest([card], kernel_arguments=f"intel_iommu=on {MODES[mode][0]}",
                           devices=["intel-iommu,intremap=on,device-iotlb=on",
                                    "pcie-root-port,id=slot0,chassis=1"]) as guest:
                use_guest(test, mode, guest, network, folder, daemon)


def use_guest(test, mode, guest, network, folder, daemon):
    with test.case(f"{mode}: the guest's kernel translates for the card"):
        kind = guest.check("cat /sys/class/net/eth0/device/../iommu_group/type")
        cases.expect_equal(kind.strip(), MODES[mode][1], "the card's IOMMU domain")
        cases.expect(told(daemon)["agreed"], told(daemon))
        traffic.set_address(guest)
    with test.case(f"{mode}: ping"):
        traffic.ping(guest)
    with test.case(f"{mode}: a download keeps its checksum"):
        traffic.download(guest, network, folder, 1)
    with test.case(f"{mode}: an upload keeps its checksum"):
        traffic.upload(guest, network, folder, 1)
    with test.case(f"{mode}: QEMU has nothing to complain of"):
        complaints = [line for line in guest.console.decode(errors="replace").splitlines()
                      if line.startswith("qemu-system") and "warning" not in line]
        cases.expect_equal(complaints, [], "complaints")
    with test.case(f"{mode}: mappings came and went"):
        iommu = told(daemon)
        cases.expect(iommu["misses"] > 100 and iommu["updates"] > 100, iommu)
        cases.expect(iommu["invalidations"] >= MODES[mode][2], iommu)
        cases.expect(iommu["refused"] == 0 and iommu["denied"] == 0, iommu)
        cases.expect(0 < iommu["entries"] <= CACHE_ENTRIES, iommu)
        cases.expect_equal(daemon.pair("n")["tx_dropped"], 0, "tx_dropped of the NIC")
    with test.case(f"{mode}: the driver is taken off and put back"):
        traffic.rebind(guest)
        traffic.set_address(guest)
        traffic.ping(guest)


def told(daemon):
    return daemon.nic("n")["vhost_user"]["iommu"]


if __name__ == "__main__":
    need()
    cases.run(main)

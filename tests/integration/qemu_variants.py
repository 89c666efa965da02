# SPDX-License-Identifier: MIT
"""Guests that agree to less than everything: old devices, no offloads, plain rings; and packed rings."""

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import QemuGuest
from network import Network, need

MAC = "52:54:00:00:00:06"
TAP = "tap0"

NO_OFFLOADS = ("csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,"
               "guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off")

# What is unusual -> (properties of QEMU's device, features that must be agreed, and must not be)
VARIANTS = {
    "a legacy device, as old guests and firmware drive it":
        ("disable-modern=on", [], ["version_1"]),
    "a legacy device without merged buffers: the 10-byte header":
        ("disable-modern=on,mrg_rxbuf=off", [], ["version_1", "mrg_rxbuf"]),
    "a modern device only":
        ("disable-legacy=on", ["version_1"], []),
    "no offloads":
        (NO_OFFLOADS, ["version_1"], ["csum", "guest_csum", "host_tso4", "guest_tso4"]),
    "no merged buffers but big frames: chains of many buffers":
        ("mrg_rxbuf=off", ["guest_tso4"], ["mrg_rxbuf"]),
    "neither event index nor indirect descriptors":
        ("event_idx=off,indirect_desc=off", [], ["event_idx", "indirect_desc"]),
    "rings of 1024 entries":
        ("rx_queue_size=1024,tx_queue_size=1024", [], []),
    "packed rings":
        ("packed=on", ["ring_packed"], []),
    "packed rings, neither event index nor indirect descriptors":
        ("packed=on,event_idx=off,indirect_desc=off", ["ring_packed"], ["event_idx"]),
}


def main(test):
    with Network() as network, Folder() as folder:
        socket = folder / "nic.sock"
        nic = f"name=n,socket={socket},mac={MAC},endpoint=tap:ifname={TAP}"
        with Daemon(folder, [nic], network) as daemon:
            wait_for_socket(socket)
            network.bring_up(TAP, f"{traffic.HOST}/24")
            for name, variant in VARIANTS.items():
                with test.case(name):
                    use_variant(socket, network, folder, daemon, *variant)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


def use_variant(socket, network, folder, daemon, properties, wanted, unwanted):
    with QemuGuest([{"socket": socket, "mac": MAC, "properties": properties}]) as guest:
        before = daemon.pair("n")
        traffic.set_address(guest)
        traffic.ping(guest)
        agreed = agreed_features(daemon)
        cases.expect(all(name in agreed for name in wanted), agreed)
        cases.expect(not any(name in agreed for name in unwanted), agreed)
        with traffic.iperf_server(network):
            for way in ("", "-R"):
                traffic.expect_tcp(guest, way)
        traffic.download(guest, network, folder, 4)
        traffic.upload(guest, network, folder, 4)
        after = daemon.pair("n")
        cases.expect_equal(after["tx_dropped"], before["tx_dropped"], "drops")


def agreed_features(daemon):
    return daemon.nic("n")["agreed_features"].split()


if __name__ == "__main__":
    need()
    cases.run(main)

# SPDX-License-Identifier: MIT
"""DPDK's virtio-user driver sends through vionic's loopback; every byte must come back, in order.

testpmd reads frames from a capture file, sends them out of its virtio-user port, and writes what
that port receives to another file.
"""

import time

import cases
import pcap
from daemon import Daemon, Folder
from testpmd import Testpmd, command_line

FRAMES = 50000
LENGTHS = [60, 61, 64, 65, 127, 128, 256, 511, 1000, 1499, 1513, 1514]
PATIENCE = 5  # seconds
MAC = "52:54:00:00:00:01"

# Each is a way in which the driver uses the ring.
DRIVER_OPTIONS = [
    "queue_size=256,mrg_rxbuf=1,in_order=0",
    "queue_size=256,mrg_rxbuf=0,in_order=0",
    "queue_size=1024,mrg_rxbuf=1,in_order=1",
    "queue_size=64,mrg_rxbuf=1,in_order=0",
    "queue_size=256,mrg_rxbuf=1,in_order=0,packed_vq=1",
    "queue_size=256,mrg_rxbuf=0,in_order=0,packed_vq=1",
    "queue_size=256,mrg_rxbuf=1,in_order=1,packed_vq=1",
    "queue_size=256,mrg_rxbuf=0,in_order=1,packed_vq=1",
]


def main(test):
    with Folder() as folder:
        socket = folder / "nic.sock"
        sent = pcap.random_frames(FRAMES, LENGTHS, seed=1)
        pcap.write(folder / "in.pcap", sent)
        with Daemon(folder, [f"socket={socket},mac={MAC},endpoint=loopback"]) as daemon:
            for options in DRIVER_OPTIONS:
                with test.case(f"{FRAMES} frames come back as they were sent, {options}"):
                    send_and_compare(folder, socket, options, sent)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


def send_and_compare(folder, socket, options, sent):
    devices = [
        f"net_virtio_user0,mac={MAC},path={socket},queues=1,{options}",
        f"net_pcap0,rx_pcap={folder / 'in.pcap'},tx_pcap={folder / 'out.pcap'}",
    ]
    size = options.split("queue_size=")[1].split(",")[0]
    arguments = ["--no-flush-rx", f"--rxd={size}", f"--txd={size}"]
    with Testpmd(command_line(devices, arguments)) as testpmd:
        testpmd.command("set fwd io retry")
        testpmd.command("set burst tx delay 10 retry 100000")
        testpmd.command("start")
        wait_until_idle(testpmd)
        testpmd.quit()
    compare(sent, pcap.read(folder / "out.pcap"))


def wait_until_idle(testpmd):
    """All frames came back, or none came for a while."""
    back, last_change = 0, time.monotonic()
    while back < FRAMES and time.monotonic() - last_change < PATIENCE:
        time.sleep(0.3)
        now = testpmd.statistics(0)["RX-packets"]
        if now != back:
            back, last_change = now, time.monotonic()


def compare(sent, received):
    for index, (expected, actual) in enumerate(zip(sent, received)):
        cases.expect(expected == actual, f"frame {index} of {len(expected)} bytes came back "
                     f"different, {len(actual)} bytes: {expected[:64].hex()} {actual[:64].hex()}")
    cases.expect_equal(len(received), len(sent), "frames that came back")


if __name__ == "__main__":
    cases.run(main)

# SPDX-License-Identifier: MIT
"""What is measured: one row, one line. A new row is a new Row in ROWS."""

import dataclasses

LENGTHS = [64, 256, 1518]
RING_SIZE = 256


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    length: int  # bytes of a frame
    front_end_mode: str  # testpmd's forward mode in the guest's place
    counted: str  # the front-end's "Tx" or "Rx" packets
    vionic_endpoint: str
    dpdk_mode: str  # forward mode of the testpmd behind DPDK's vhost
    start: str = "start"  # the command that sets the front-end going
    ring: str = "split"
    quick: bool = False  # is measured with QUICK=1 too

    @property
    def driver(self):
        """Options of the front-end's virtio-user device."""
        packed = int(self.ring.startswith("packed"))
        in_order = int(self.ring.endswith("in-order"))
        return f"packed_vq={packed},mrg_rxbuf=1,in_order={in_order},vectorized=0"


RINGS = ["split", "packed", "split in-order", "packed in-order"]


def row(kind, length, ring, **what):
    quick = "in-order" not in ring and length != 256
    return Row(f"{kind} {length} {ring}", length, ring=ring, quick=quick, **what)


def tx(length, ring):
    return row("tx", length, ring, front_end_mode="txonly", counted="Tx",
               vionic_endpoint="null", dpdk_mode="rxonly")


def rx(length, ring):
    return row("rx", length, ring, front_end_mode="rxonly", counted="Rx",
               vionic_endpoint=f"null:generate={length}", dpdk_mode="txonly")


def loopback(length, ring):
    """A closed loop: 256 frames go round and round."""
    return row("loopback", length, ring, front_end_mode="io", counted="Rx",
               vionic_endpoint="loopback", dpdk_mode="io", start="start tx_first 8")


ROWS = [make(length, ring) for make in (tx, rx, loopback) for length in LENGTHS for ring in RINGS]

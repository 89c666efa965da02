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
    # Both back-ends are offered the same: vionic has no in-order rings yet.
    driver: str = "packed_vq=0,mrg_rxbuf=1,in_order=0,vectorized=0"


def tx(length):
    return Row(f"tx {length}", length, "txonly", "Tx", "null", "rxonly")


def rx(length):
    return Row(f"rx {length}", length, "rxonly", "Rx", f"null:generate={length}", "txonly")


def loopback(length):
    """A closed loop: 256 frames go round and round."""
    return Row(f"loopback {length}", length, "io", "Rx", "loopback", "io", "start tx_first 8")


ROWS = [make(length) for make in (tx, rx, loopback) for length in LENGTHS]

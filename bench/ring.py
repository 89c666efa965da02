# SPDX-License-Identifier: MIT
"""Rows: one DPDK virtio-user front-end against vionic, and against DPDK's vhost PMD."""

import functools

from card import MAC
from driven import METRICS, Case, DpdkVhost, Vionic
from window import Row

LENGTHS = [64, 256, 1518]
RINGS = ["split", "packed", "split in-order", "packed in-order"]
NOTE = (
    "tx, rx, echo: cycles are TSC cycles of the back-end without empty looks at the rings. vionic: CPU time\n"
    "of its process less what its worker's counter spent_ns says. DPDK: testpmd's busy cycles\n"
    "(record-core-cycles); in rx rows they contain making the frames, even those that found no room. In tx\n"
    "rows vionic's null endpoint never reads the payload, DPDK copies it.")


def row(kind, length, ring, endpoint, large_bar, **modes):
    driver = (f"packed_vq={int(ring.startswith('packed'))},mrg_rxbuf=1,"
              f"in_order={int(ring.endswith('in-order'))},vectorized=0")
    case = Case(length, ((MAC, f"queue-size=1024,endpoint={endpoint}"),), driver, **modes)
    packets = large_bar if length > 1000 else 1.0
    cycles = 0.7 if ring.startswith("packed") and length == 64 and kind != "echo" else 0.5
    return Row(f"{kind} {length} {ring}",
               (functools.partial(Vionic, case), functools.partial(DpdkVhost, case)), METRICS,
               f"packets >= {packets}, cycles <= {cycles}",
               quick="in-order" not in ring and length != 256)


def tx(length, ring):
    return row("tx", length, ring, "null", 1.3, front_end_mode="txonly", counted="Tx",
               dpdk_mode="rxonly")


def rx(length, ring):
    return row("rx", length, ring, f"null:generate={length}", 1.3, front_end_mode="rxonly",
               counted="Rx", dpdk_mode="txonly")


def echo(length, ring):
    """A closed loop: 256 frames go round and round."""
    return row("echo", length, ring, "loopback", 1.8, front_end_mode="io", counted="Rx",
               dpdk_mode="io", go="start tx_first 8")


ROWS = [make(length, ring) for make in (tx, rx, echo) for length in LENGTHS for ring in RINGS]

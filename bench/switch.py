# SPDX-License-Identifier: MIT
"""Rows: two guests (the two ports of one virtio-user front-end) through vionic's switch, and through
testpmd between two DPDK vhost ports. What a guest gets, it sends to the other again: frames go round."""

import functools

from driven import METRICS, Case, DpdkVhost, Vionic
from window import Row

MACS = ["52:54:00:00:00:01", "52:54:00:00:00:02"]
PAIRED = ("--port-topology=paired",)
JUMBO = ("--mbuf-size=10240", "--max-pkt-len=9500")
NOTE = ("guest-to-guest: frames that arrived at both guests. One front-end process on one CPU is both of\n"
        "them, and the bottleneck at 64 bytes: cycles show the difference.")


def row(length):
    large = JUMBO if length > 1518 else ()
    nics = tuple((mac, "mtu=9500,queue-size=1024,endpoint=switch:name=lan0") for mac in MACS)
    peers = (f"--eth-peer=0,{MACS[1]}", f"--eth-peer=1,{MACS[0]}")
    case = Case(length, nics, "packed_vq=0,mrg_rxbuf=1,in_order=0,vectorized=0", "io", "Rx", "io",
                "start tx_first 8", front_end_options=(*PAIRED, *peers, *large), dpdk_options=(*PAIRED, *large),
                may_drop=True)
    return Row(f"guest-to-guest {length}",
               (functools.partial(Vionic, case), functools.partial(DpdkVhost, case)), METRICS,
               "packets >= 1.5, cycles <= 0.4" if length > 1000 else "", quick=length == 1518)


ROWS = [row(length) for length in (64, 1518, 9000)]

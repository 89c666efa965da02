# SPDX-License-Identifier: MIT
"""Rows: a card of several queue pairs, all of them busy, served by one worker."""

import functools

from card import MAC
from driven import METRICS, Case, DpdkVhost, Vionic
from window import Row

DRIVER = "packed_vq=0,mrg_rxbuf=1,in_order=0,vectorized=0"
NOTE = ("pairs: 256 frames go round in each pair of one card, as in the echo rows; one worker and one forwarding\n"
        "core serve them all, and one CPU is the guest, which has more to do with 8 rings than with one: of\n"
        "8 beside 1, cycles say what is the card's.")


class OnePair(Vionic):
    name = "1 pair"


def case(pairs):
    nic = (MAC, f"queues={pairs},queue-size=1024,endpoint=loopback")
    return Case(64, (nic,), DRIVER, "io", "Rx", "io", "start tx_first 8", pairs=pairs)


ROWS = [Row(f"{pairs} pairs, echo 64",
            (functools.partial(Vionic, case(pairs)), functools.partial(DpdkVhost, case(pairs))), METRICS,
            "packets >= 1.0, cycles <= 0.5", quick=pairs == 8) for pairs in (2, 4, 8)]
ROWS.append(Row("8 pairs beside 1 pair, echo 64",
                (functools.partial(Vionic, case(8)), functools.partial(OnePair, case(1))), METRICS,
                quick=True))

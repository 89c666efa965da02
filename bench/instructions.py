# SPDX-License-Identifier: MIT
"""Rows: instructions a packet, which no placement, no neighbour and no clock changes (`make count`)."""

import functools

import count
from window import Metric, Row, Side, Window, program

RINGS = ("split", "packed", "split in-order", "packed in-order")
NOTE = ("instructions: of the card's turns, counted by callgrind, driver and card in one thread, 32 packets a turn\n"
        "(alone: one). They have no peer: bench/count.txt is what `make check` holds them to.")


@functools.cache
def counted(path):
    return count.count(path)[0]


class Counted(Side):
    name = "vionic"
    needs = ("valgrind",)

    def __init__(self, path, rings, _context):
        self._path = path
        self._rings = rings

    def window(self, _seconds):
        figures = counted(program("count"))
        return Window({ring: figures[f"{self._path} {ring}"] for ring in self._rings})

    def stop(self):
        """There is nothing."""


def rows():
    """One for each path of count.txt, with the rings that it has there."""
    paths = {}
    for name in count.figures_read()[1]:
        ring = max((ring for ring in RINGS if name.endswith(ring)), key=len)
        paths.setdefault(name.removesuffix(ring).strip(), []).append(ring)
    return [Row(f"instructions, {path}", (functools.partial(Counted, path, tuple(rings)),),
                tuple(Metric(ring, 0, -1) for ring in rings), seconds=0, classed=False, starts=1, windows=1,
                settle=0.3, pause=0, quick=not path.startswith("alone"))
            for path, rings in paths.items()]


ROWS = rows()

# SPDX-License-Identifier: MIT
"""All that is measured, in the order of the table. A new row is a new Row in one of these."""

import instructions
import latency
import nat
import pairs
import ring
import scale
import switch
import tap
import uml

BOARDS = (instructions, ring, pairs, switch, tap, nat, latency, uml, scale)
ROWS = [row for board in BOARDS for row in board.ROWS]


def notes(rows):
    """What to know about the figures of these rows."""
    return [board.NOTE for board in BOARDS if any(row in board.ROWS for row in rows)]

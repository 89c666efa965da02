# SPDX-License-Identifier: MIT
"""Little-endian words, for whoever writes an input byte by byte."""

import struct


def u8(*values):
    return bytes(values)


def u16(value):
    return struct.pack("<H", value & 0xFFFF)


def u32(value):
    return struct.pack("<I", value & 0xFFFFFFFF)


def u64(value):
    return struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF)

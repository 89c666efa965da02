# SPDX-License-Identifier: MIT
"""Capture files of Ethernet frames, as DPDK's pcap driver reads and writes them."""

import random
import struct

FILE_HEADER = struct.Struct("<IHHiIII")
FRAME_HEADER = struct.Struct("<IIII")
MAGIC = 0xA1B2C3D4
ETHERNET = 1


def random_frames(count, lengths, seed):
    """Frames that all differ: random bytes of random length behind addresses and a local EtherType."""
    source = random.Random(seed)
    addresses = bytes.fromhex("525400000001" "525400000002" "88b5")
    return [addresses + source.randbytes(source.choice(lengths) - len(addresses))
            for _ in range(count)]


def write(path, frames):
    with open(path, "wb") as file:
        file.write(FILE_HEADER.pack(MAGIC, 2, 4, 0, 0, 65535, ETHERNET))
        for frame in frames:
            file.write(FRAME_HEADER.pack(0, 0, len(frame), len(frame)) + frame)


def read(path):
    with open(path, "rb") as file:
        content = file.read()
    position = FILE_HEADER.size
    frames = []
    while position < len(content):
        captured = FRAME_HEADER.unpack_from(content, position)[2]
        position += FRAME_HEADER.size
        frames.append(content[position:position + captured])
        position += captured
    return frames

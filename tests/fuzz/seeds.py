# SPDX-License-Identifier: MIT
"""Writes the seed corpora: a handful of small inputs a target that reach past its first checks.

    python3 tests/fuzz/seeds.py [TARGET...]

Run it after a change of a target's input format, and commit what it wrote.
"""

import json
import os
import struct
import sys

from seeds_registers import registers_seeds
from seeds_vhost_user import vhost_user_seeds
from words import u16, u32, u64, u8

HERE = os.path.dirname(os.path.abspath(__file__))


# ---- split_ring, packed_ring: see ring_input.c -----------------------------------------------

TURN, OFFER, WRITE, WORD, TABLE, SLEEP, RESTART, ENDPOINT, SWITCHES, REMAP = range(10)
INDIRECT, EVENT_IDX, BATCH_USED, BIG_ENDIAN, MERGEABLE, LEGACY = 1, 2, 4, 8, 16, 32
DATA, NEXT_REGION, ROM, RAW = 4, 1, 2, 3


def address(kind, low):
    return u8(kind) + u16(low)


def length(value):
    if value < 0xF0:
        return u8(value)
    return u8(0xF0) + u16(value)


def buffer(low, size, flags=0, kind=DATA):
    return address(kind, low) + length(size) + u8(flags)


def offer(queue, *buffers):
    return u8(OFFER, queue | (len(buffers) - 1) << 1) + b"".join(buffers)


def table(low, count, what, flags):
    """Entries of one shape: `what` is (address low, bytes, step)."""
    return (
        u8(TABLE)
        + u16(low)
        + u16(count)
        + address(DATA, what[0])
        + length(what[1])
        + u8(what[2], flags)
    )


def deliver(count, size, extra=0):
    return u8(ENDPOINT, 4 | 8 | 2, count) + u16(size) + u16(extra)


def ring_seeds(packed):
    size = u8(15 if packed else 4)  # 16 entries
    head = lambda what, more=3: u8(what, more) + size + size
    plain = head(INDIRECT | EVENT_IDX | MERGEABLE)
    send = offer(1, buffer(0x100, 12), buffer(0x200, 60)) + u8(TURN, 8)
    receive = offer(0, buffer(0x400, 200)) * 3 + deliver(2, 300, 100) + u8(TURN, 8)
    long_table = table(0, 600, (0x2800, 1, 1), 2)
    return {
        "send": plain + send * 3 + u8(SLEEP) + send,
        "receive": plain + receive + u8(SLEEP) + receive,
        "loop": head(EVENT_IDX) + u8(ENDPOINT, 2) + offer(0, buffer(0x400, 200)) + send,
        "in_order": head(INDIRECT | BATCH_USED) + send + send + u8(TURN, 4, SLEEP),
        "asynchronous": head(EVENT_IDX | 64) + send * 2 + u8(TURN, 4) + send,
        "last_first": head(EVENT_IDX | 128) + send * 3 + u8(TURN, 4, SLEEP),
        "first_stays": u8(128, 3)
        + u8(3 if packed else 2) * 2
        + u8(ENDPOINT, 32, 0)
        + send * 2
        + u8(ENDPOINT, 32, 1)
        + send * 6
        + u8(ENDPOINT, 32, 0)
        + send * 2
        + u8(SLEEP),
        "other_order": head(BIG_ENDIAN | LEGACY) + send + receive,
        "indirect": plain
        + table(0, 4, (0x1000, 20, 32), 0)
        + offer(1, buffer(0, 64, 4))
        + u8(TURN, 4),
        "long_receive_table": plain
        + long_table
        + offer(0, buffer(0, 9600, 6))
        + deliver(1, 100, 60000)
        + u8(TURN, 4),
        "long_send_table": plain
        + table(0, 600, (0x2800, 1, 1), 0)
        + offer(1, buffer(0, 9600, 4))
        + u8(TURN, 4),
        "borders": plain
        + offer(1, buffer(0x20, 200, 0, NEXT_REGION), buffer(0x10, 40, 0, ROM))
        + offer(1, buffer(0x40, 90, 0, 0))
        + u8(TURN, 8),
        "restart": plain + send + u8(RESTART, 1) + send + u8(RESTART, 0) + receive,
        "remap": plain + send + u8(REMAP, 0x0E) + send + u8(REMAP, 0x0F, RESTART, 1) + send,
        "jump": plain + u8(WORD, 1, 0x05) + u16(0x7000) + u8(TURN, 4, SLEEP),
        "blocked": plain + u8(ENDPOINT, 1, 1) + send * 2 + u8(SLEEP, ENDPOINT, 0, TURN, 4),
        "switches": plain
        + u8(SWITCHES, 3)
        + send
        + u8(SWITCHES, 4)
        + receive
        + u8(SWITCHES, 0, TURN, 4),
    }


# ---- net_header: see target_net_header.c -----------------------------------------------------

ETHERNET = bytes.fromhex("525400000001525400000002")


def net_header(flags=0, gso=0, hdr_len=0, gso_size=0, start=0, offset=0, order="<"):
    return struct.pack(order + "BBHHHHH", flags, gso, hdr_len, gso_size, start, offset, 0)


def tunnel_header(flags, gso, outer, inner, offset=16):
    return net_header(flags, gso, 0, 60, inner + 20, offset) + bytes(8) + u16(outer) + u16(inner)


def ipv4(protocol, payload):
    return (
        ETHERNET
        + b"\x08\x00\x45\x00"
        + struct.pack(">H", 20 + len(payload))
        + bytes(4)
        + u8(64, protocol)
        + bytes(10)
        + payload
    )


def ipv6(protocol, payload):
    return (
        ETHERNET
        + b"\x86\xdd\x60\x00\x00\x00"
        + struct.pack(">H", len(payload))
        + u8(protocol, 64)
        + bytes(32)
        + payload
    )


def net_header_seeds():
    cuts = u8(200, 100, 50, 25, 12, 60) + u8(12, 14, 20, 33, 64, 0)
    small = u8(20, 13, 12, 14, 18, 40) + u8(1, 5, 12, 7, 3, 40)
    tcp = bytes(12) + b"\x50\x10" + bytes(6) + bytes(range(200))
    udp = bytes(8) + bytes(range(100))
    tagged = ETHERNET + b"\x81\x00\x00\x05\x88\xa8\x00\x06" + ipv4(17, udp)[12:]
    vxlan4, vxlan6 = ipv4(17, bytes(16)), ipv6(17, bytes(16))
    return {
        "plain": u8(4, 0) + cuts + net_header() + ipv4(6, tcp),
        "checksum": u8(4, 1) + cuts + net_header(1, start=34, offset=16) + ipv4(6, tcp),
        "checksum_kept": u8(4 | 16, 1) + small + net_header(1, start=34, offset=16) + ipv4(6, tcp),
        "odd_checksum": u8(4, 1) + small + net_header(1, start=35, offset=7) + ipv4(17, udp),
        "tso4": u8(4 | 16, 0x7F) + small + net_header(1, 1, 54, 60, 34, 16) + ipv4(6, tcp),
        "tso6_ecn": u8(4 | 16, 0x7F) + cuts + net_header(1, 0x84, 74, 60, 54, 16) + ipv6(6, tcp),
        "uso": u8(4 | 16, 0x7F) + cuts + net_header(1, 5, 42, 20, 34, 6) + ipv4(17, udp),
        "ufo": u8(16, 0x7F) + small + net_header(1, 3, 42, 24, 34, 6) + ipv4(17, udp),
        "big_endian": u8(2 | 8, 1)
        + cuts
        + net_header(1, start=34, offset=16, order=">")[:10]
        + ipv4(6, tcp),
        "tagged": u8(4 | 32, 1) + cuts + net_header(1, start=42, offset=6) + tagged,
        "runt": u8(4, 0) + small + net_header() + ETHERNET,
        "not_agreed": u8(4, 0) + cuts + net_header(1, start=34, offset=16) + ipv4(6, tcp),
        "tunnel": u8(4 | 16 | 64, 0x7F) + cuts + tunnel_header(1, 0x21, 34, 64) + vxlan4 + ipv4(6, tcp),
        "tunnel_csum": u8(4 | 16 | 64, 0x7F)
        + small
        + tunnel_header(9, 0x21, 34, 64)
        + vxlan4
        + ipv4(6, tcp),
        "tunnel_4in6": u8(4 | 16 | 64, 0x7F) + cuts + tunnel_header(1, 0x25, 54, 84, 6) + vxlan6 + ipv4(17, udp),
        "tunnel_not_taken": u8(4 | 64, 0x7F) + cuts + tunnel_header(1, 0x21, 34, 64) + vxlan4 + ipv4(6, tcp),
    }


# ---- hash: see target_hash.c -----------------------------------------------------------------


def hash_seeds():
    head = u16(0x1FF) + u16(0x1FF) + u8(0, 3) + bytes(range(16))
    ports = bytes(range(20))
    options = u8(60, 0, 1, 4, 0, 0, 0, 0) + u8(43, 2, 0, 1, 1, 0, 201, 16) + bytes(range(16))
    mobile = options + u8(6, 2, 2, 1, 0, 0, 0, 0) + bytes(range(16)) + ports
    udp = lambda port: bytes(2) + struct.pack(">H", port) + bytes(4)
    inner = ipv4(6, ports)
    return {
        "tcp4": head + ipv4(6, ports),
        "udp6": head + ipv6(17, ports),
        "mobile": head + ipv6(0, mobile),
        "fragment": head + ipv6(44, u8(17, 0, 0, 1) + bytes(4) + ports),
        "authentication": head + ipv6(51, u8(6, 4) + bytes(22) + ports),
        "gre": head + ipv4(47, u8(0xB0, 0, 8, 0) + bytes(12) + inner[14:]),
        "nvgre": head + ipv6(47, u8(0x20, 0, 0x65, 0x58) + bytes(4) + inner),
        "gre_udp": head + ipv4(17, udp(4754) + u8(0, 0, 8, 0) + inner[14:]),
        "vxlan": head + ipv4(17, udp(4789) + u8(8) + bytes(7) + inner),
        "vxlan_gpe": head + ipv4(17, udp(4790) + u8(0x0C, 0, 0, 1) + bytes(4) + inner[14:]),
        "geneve": head + ipv6(17, udp(6081) + u8(1, 0, 0x65, 0x58) + bytes(8) + inner),
        "ipip": head + ipv4(4, inner[14:]),
        "tagged": head + ETHERNET + b"\x88\xa8\x00\x06\x81\x00\x00\x05" + inner[12:],
        "some_types": u16(0x09) + u16(0) + u8(0x2A, 7) + bytes(16) + ipv4(6, ports),
    }


# ---- merge: see target_merge.c ---------------------------------------------------------------


def merge_seeds():
    mend, follows, shorter, partial, verified, change = 1, 2, 4, 8, 16, 64
    usual = mend | follows
    tcp = bytes(range(12)) + b"\x50\x10" + bytes(6) + bytes(range(46))
    stamps = bytes(range(12)) + b"\x80\x10" + bytes(6) + b"\x01\x01\x08\x0a" + bytes(8)

    whole_packets = ipv4(6, tcp)[:20] + b"\x40" + ipv4(6, tcp)[21:]

    def train(takes, how, frame, *cars, length=300):
        first = frame.ljust(120, b"x")[: min(120, length)]
        return u8(takes, how) + u16(length) + first + b"".join(cars)

    return {
        "tcp4": train(0x7F, mend, ipv4(6, tcp), u8(usual) * 6),
        "tcp6": train(0x7F, mend, ipv6(6, tcp), u8(usual) * 6),
        "stamps": train(0x7F, mend, ipv4(6, stamps), u8(usual) * 3, u8(usual | change, 60, 1)),
        "short": train(0x7F, mend, ipv6(6, tcp), u8(usual) * 2, u8(usual | shorter, 90)),
        "padded": train(0x7F, mend, ipv4(6, tcp), u8(usual), u8(usual), length=58),
        "partial": train(0x07, mend | partial, ipv4(6, tcp), u8(usual | partial) * 4),
        "verified": train(0x7F, verified | mend, ipv4(6, tcp), u8(usual | verified) * 4),
        "push": train(0x7F, mend, ipv4(6, tcp), u8(usual | change, 47, 8), u8(usual)),
        "damaged": train(0x7F, mend, ipv4(6, tcp), u8(usual), u8(follows), u8(usual)),
        "same_id": train(
            0x7F, mend, whole_packets, u8(usual | change, 19, 1), u8(usual | change, 19, 1)
        ),
        "not_taken": train(0x01, mend, ipv4(6, tcp), u8(usual) * 2),
    }


# ---- segment: see target_segment.c -----------------------------------------------------------


def ip_whole(frame, filler):
    """The frame with the IP length that it has with its filler."""
    network = 12
    while frame[network : network + 2] in (b"\x81\x00", b"\x88\xa8"):
        network += 4
    network += 2
    length = len(frame) + filler - network
    if frame[network] >> 4 == 4:
        at, value = network + 2, length
    else:
        at, value = network + 4, length - 40
    return frame[:at] + struct.pack(">H", value) + frame[at + 2 :]


def segment_seeds():
    cuts = u8(200, 100, 50, 25, 12, 60)
    small = u8(20, 13, 12, 14, 18, 40)
    tcp = bytes(range(12)) + b"\x50\x99" + bytes(6) + bytes(range(50))
    udp = bytes(8) + bytes(range(60))
    options = u8(6, 0, 1, 4, 0, 0, 0, 0) + tcp

    def one(takes, cut, header, frame, filler=900, changes=bytes(8)):
        return u8(takes) + cut + header + u16(filler) + changes + ip_whole(frame, filler)

    def tagged(frame):
        return ETHERNET + b"\x88\xa8\x00\x05\x81\x00\x00\x06" + frame[12:]

    return {
        "plain_checksum": one(0, cuts, net_header(1, start=34, offset=16), ipv4(6, tcp)),
        "odd_checksum": one(0, small, net_header(1, start=35, offset=9), ipv4(6, tcp), 1),
        "tso4": one(0, small, net_header(1, 1, 54, 100, 34, 16), ipv4(6, tcp)),
        "tso4_partial": one(1, cuts, net_header(1, 1, 54, 100, 34, 16), ipv4(6, tcp), 20000),
        "tso6_ecn": one(0, cuts, net_header(1, 0x84, 74, 600, 54, 16), ipv6(6, tcp), 3000),
        "tso6_options": one(0, cuts, net_header(1, 4, 74, 99, 62, 16), ipv6(60, options)),
        "uso4": one(0, small, net_header(1, 5, 42, 77, 34, 6), ipv4(17, udp)),
        "uso6_tagged": one(1, cuts, net_header(1, 5, 42, 77, 62, 6), tagged(ipv6(17, udp))),
        "ufo4": one(0, cuts, net_header(1, 3, 42, 500, 34, 6), ipv4(17, udp), 5000),
        "ufo6": one(1, small, net_header(1, 3, 62, 300, 54, 6), ipv6(17, udp), 5001),
        "changes": one(
            0,
            small,
            net_header(1, 1, 54, 100, 34, 16),
            ipv4(6, tcp),
            900,
            u8(14, 0x4F, 16, 0xFF, 12, 0x86, 13, 0xDD),
        ),
        "padded": one(0, cuts, net_header(1, 5, 42, 2, 34, 6), ipv4(17, bytes(8) + b"12345"), 0)
        + bytes(13),
    }


# ---- control_queue ----------------------------------------------------------------------------

BIG_ENDIAN_LEGACY, NOTHING_READY, RESET_BETWEEN = 1, 2, 4


def control_message(data, room=1, cuts=0, pages=0):
    return u8(cuts, room, pages, len(data)) + data


def rss_config(mask, pairs, key_len):
    return (
        u8(4, 1)
        + u32(0x3F)
        + u16(mask)
        + u16(0)
        + b"".join(u16(i % pairs) for i in range(mask + 1))
        + u16(pairs)
        + u8(key_len)
        + bytes(range(key_len))
    )


def control_queue_seeds():
    every_mode = [u8(0, number, 1) for number in range(6)]
    table = u8(1, 0) + u32(1) + u8(0x52, 0x54, 0, 0, 7, 7) + u32(1) + u8(1, 0, 0x5E, 0, 0, 1)
    commands = {
        "modes": every_mode + [u8(0, 0, 0)],
        "addresses": [table, u8(1, 1, 0x52, 0x54, 0, 0, 9, 9), u8(1, 0) + bytes(8)],
        "vlans": [u8(2, 0) + u16(100), u8(2, 0) + u16(4095), u8(2, 1) + u16(100), u8(3, 0)],
        "pairs": [u8(4, 0) + u16(4), rss_config(3, 4, 40), u8(4, 0) + u16(1)],
        "rss": [rss_config(63, 2, 16), rss_config(0, 1, 40)],
        "hash": [u8(4, 2) + u32(0x1FF) + bytes(8) + u8(40) + bytes(40), u8(7, 0) + u32(0x1FF)],
        "offloads": [u8(5, 0) + u64(2), u8(5, 0) + u64(2 | 1 << 7), u8(5, 0) + u64(1 << 46)],
        "coalescing": [
            u8(6, 0) + u32(8) + u32(50),
            u8(6, 1) + u32(4) + u32(20),
            u8(6, 2) + u16(3) + u16(0) + u32(2) + u32(9),
        ],
    }
    seeds = {
        name: u16(0) + u8(0) + b"".join(control_message(data, 1, number % 3) for number, data in
                                        enumerate(messages))
        for name, messages in commands.items()
    }
    get = u8(6, 3) + u16(3) + u16(0)
    stats = u8(8, 1) + b"".join(
        u16(queue) + bytes(6) + u64(types) for queue, types in ((0, 7), (1, 7 << 16), (8, 1 << 32))
    )
    seeds["questions"] = (
        u16(0)
        + u8(0)
        + control_message(get, 9)
        + control_message(get, 4, 3)
        + control_message(u8(8, 0), 9)
        + control_message(stats, 255, 7)
        + control_message(stats, 100)
    )
    seeds["long"] = u16(0) + u8(0) + control_message(u8(0, 0, 1), 1, 0, 19)
    seeds["no_room"] = u16(0) + u8(NOTHING_READY) + control_message(u8(4, 0, 1, 0), 0)
    seeds["nothing_agreed"] = u16(0x3FFF) + u8(0) + control_message(u8(0, 0, 1))
    seeds["big_endian"] = (
        u16(0) + u8(BIG_ENDIAN_LEGACY | RESET_BETWEEN) + control_message(u8(4, 0, 0, 2)) * 9
    )
    return seeds


# ---- config, control -------------------------------------------------------------------------


def config_seeds():
    def file_input(value, *texts):
        data = (value if isinstance(value, str) else json.dumps(value)).encode()
        return u8(1) + u16(len(data)) + data + b"\0".join(text.encode() for text in texts)

    def text_input(*texts):
        return u8(0) + b"\0".join(text.encode() for text in texts)

    nic = {
        "name": "vm0",
        "socket": "/run/vm0.sock",
        "mac": "52:54:00:00:00:01",
        "mtu": 1500,
        "queues": 2,
        "queue-size": 256,
        "speed": 10000,
        "mode": "client",
        "endpoint": {"kind": "user", "net": "10.0.3.0/24", "hostfwd": ["tcp::2222-:22", 5, True]},
    }
    return {
        "whole_file": file_input(
            {"control": "/run/c.sock", "workers": 2, "poll": 50, "nics": [nic]}
        ),
        "switches": file_input(
            {"switches": [{"name": "lan0", "ageing": 60, "uplink": {"kind": "null"}}], "nics": [nic]},
            "+name=lan1,queues=2,uplink=tap:ifname=tap0", "socket=/run/a.sock,endpoint=switch:name=lan1"
        ),
        "file_and_text": file_input({"nics": [nic]}, "socket=/run/vm1.sock,endpoint=null"),
        "wrong_types": file_input({"workers": "two", "nics": {}}),
        "unknown_key": file_input({"nics": [{"sokcet": "/a", "endpoint": "usr"}]}),
        "cut_short": file_input('{"nics": [{"socket": "/a"'),
        "not_an_object": file_input("[1, 2, {}]"),
        "text": text_input(
            "socket=/run/vm0.sock,mtu=1500,endpoint=user:net=10.0.3.0/24,hostfwd=tcp::80-:80"
        ),
        "two_texts": text_input(
            "name=a,socket=/a,endpoint=null", "name=a,socket=/b,endpoint=null:rx=on"
        ),
        "workers": file_input(
            {"workers": 4, "cpus": "0-1,4", "nics": [dict(nic, workers=2), dict(nic, workers="0-1,3")]},
            "socket=/b,workers=0-1+3,endpoint=null",
        ),
        "tap": text_input(
            "mac=02:00:00:00:00:01,socket=/a,queues=4,endpoint=tap:ifname=tap0,mtu=9000"
        ),
        "no_value": text_input("socket,endpoint=", "=,"),
    }


def control_seeds():
    def parser(text):
        return u8(0) + text.encode()

    def pieces(*texts):
        return u8(1) + b"".join(u8(len(text)) + text.encode() for text in texts)

    return {
        "inspect": parser('{"command":"inspect","path":"fuzz/queues/0"}'),
        "inspect_nic": parser('{"command":"inspect","path":"nic0/queues/1"}'),
        "inspect_wrong": parser('{"command":"inspect","path":5}'),
        "endpoints": parser('{"command":"endpoints"}'),
        "ping": parser('{"command":"ping"}'),
        "set": parser(
            '{"command":"set","values":{"nic0.link":"down","nic0.mtu":9000,"nic0.speed":"unknown",'
            '"nic0.duplex":"half","nic0.mac":"52:54:00:00:00:07","nic0.announce":"now"}}'
        ),
        "set_endpoint": parser(
            '{"command":"set","values":{"nic0.endpoint":"loopback","nic0.link":"up"}}'
        ),
        "set_endpoint_wrong": parser(
            '{"command":"set","values":{"nic0.endpoint":"null:generate=60,rate=1,colour=blue"}}'
        ),
        "set_wrong": parser('{"command":"set","values":{"nic0.lnk":1.5,"\u0001.mtu":-1}}'),
        "set_each_wrong": pieces(
            '{"command":"set","values":{"nic0.mac":"1:2"}}\n',
            '{"command":"set","values":{"nic0.speed":0}}\n{"command":"set","values":{"x.link":"up"}}\n',
        ),
        "unknown": parser('{"command":"inspct","pth":"\\u0000"}'),
        "not_json": parser("[{}"),
        "in_pieces": pieces('{"comm', 'and":"ping"}\n{"command"', ':"inspect"}\n'),
        "two_lines": pieces('\n\n{"command":"endpoints"}\n{"command":"ping"}\n'),
        "no_end": pieces('{"command":"ping"}'),
    }


# ---- ring_schedule: see tests/property/ring_schedule.h ---------------------------------------


def ring_schedule_seeds():
    """Set-up and steps of four bytes each, spread over all values."""

    def steps(count, factor):
        return b"".join(
            u8(i * factor & 0xFF, i * 7 & 0xFF, i * 13 & 0xFF, i & 0xFF) for i in range(count)
        )

    return {
        "short": bytes(4) + steps(8, 1),
        "long": u8(3, 7, 1, 255) + steps(200, 1),
        "other": u8(255, 1, 2, 3) + steps(120, 5),
        "third": u8(16, 64, 128, 9) + steps(120, 11),
    }


def saved_state_seeds():
    """Records behind a header, or changes to a sound state: see target_saved_state.c."""

    def record(tag, payload, need=1):
        return u16(tag) + u16(need) + u32(len(payload)) + payload

    def changes(*pairs):
        return b"".join(u16(at) + u8(value) for at, value in pairs)

    return {
        "mmio_untouched": u8(2),
        "pci_untouched": u8(3),
        "mmio_status": u8(2) + changes((48, 0x4F)),
        "mmio_features": u8(2) + changes((32, 1), (36, 3)),
        "pci_tail": u8(3) + changes(*((at, 0xFF) for at in range(4096, 4160, 3))),
        "mmio_raw": u8(6) + changes((0, 0), (20, 1)),
        "mmio_no_records": u8(0),
        "mmio_unknown_records": u8(0) + record(60, b"later", 0) + record(61, b"", 1),
        "pci_agreement": u8(1) + record(1, u64(0) + u64(0) + u8(0, 0) + u32(0) + u8(0)),
        "mmio_long_record": u8(0) + u16(1) + u16(1) + u32(0xFFFFFFF0),
    }


def handover_seeds():
    """Changes to a card that was given, or records in its place: see target_handover.c."""
    keep, records, raw, inner = 1, 2, 4, 8

    def changes(*pairs):
        return b"".join(u16(at) + u8(value) for at, value in pairs)

    def record(tag, payload, need=1):
        return u16(tag) + u16(need) + u32(len(payload)) + payload

    everywhere = range(24, 3000, 7)
    return {
        "untouched": u8(0),
        "kept": u8(keep),
        "inner": u8(keep | inner) + changes((2400, 1)),
        "no_records": u8(records),
        "raw": u8(records | raw) + bytes(40),
        "unknown": u8(records) + record(60, b"later", 0) + record(61, b""),
        "session_only": u8(records) + record(34, u8(1, 0)),
        **{f"change_{at}": u8(keep | inner) + changes((at, 0xFF)) for at in list(everywhere)[::40]},
    }


def stream_seeds():
    """A peer's writes, a guest's room and frames: see target_stream.c."""
    write, zeroes, receive, room, send, read, reopen = range(7)

    def frame(length, more=0):
        return length.to_bytes(4, "big") + bytes(i & 0xFF for i in range(length - more))

    def written(data):
        return b"".join(
            u8(write, len(data[at : at + 255])) + data[at : at + 255]
            for at in range(0, len(data), 255)
        )

    some = frame(14) + frame(60) + frame(100)
    return {
        "frames": u8(255) + written(some * 3) + u8(receive, 64),
        "split": u8(255) + written(some[:40]) + u8(receive, 9) + written(some[40:]) + u8(receive, 9),
        "no_room": u8(1) + written(some) + u8(receive, 9, room, 1, receive, 9, room, 9, receive, 1),
        "large": u8(9) + written((65557).to_bytes(4, "big")) + u8(zeroes, 66, receive, 9),
        "zero": u8(9) + written(frame(20) + bytes(4) + frame(20)) + u8(receive, 9),
        "short": u8(9) + written(frame(20) + frame(13) + frame(20)) + u8(receive, 9),
        "oversize": u8(9) + written(frame(20) + (65558).to_bytes(4, "big")) + u8(receive, 9),
        "both": u8(9, send, 20) + written(some) + u8(receive, 9, read, 9, send, 9, read, 200) * 4,
        "full": u8(9) + u8(send, 32, send, 32, read, 3, send, 32, read, 255, send, 1) * 3,
        "reopen": u8(9, reopen, 0) + written(some[:30]) + u8(receive, 9, reopen, 0) + written(some[30:]),
    }


# ---- bulk: see target_bulk.c ------------------------------------------------------------------

SEND, GIVE, TURN_PARTLY, TURN_ALL, RULES, REST = 0, 2, 3, 4, 6, 7
BULK_MERGEABLE, BULK_TAKES, BULK_V6, BULK_HASH, BULK_LOOPS = 2, 4, 8, 16, 32


def bulk_steps(*steps):
    return b"".join(bytes(step) for step in steps)


def bulk_seeds():
    some = bulk_steps((SEND, 0xff, 20), (GIVE, 60, 15), (TURN_PARTLY, 3, 0), (SEND, 0x21, 4),
                        (TURN_PARTLY, 2, 1), (REST, 0, 0), (GIVE, 140, 15), (TURN_ALL, 0, 0))
    both = BULK_MERGEABLE | BULK_TAKES
    return {
        "segmented": u8(0) + u8(1) + some,
        "segmented_v6": u8(BULK_V6) + u8(1) + some,
        "completed": u8(0) + u8(0) + some,
        "loop_whole": u8(both | BULK_LOOPS) + u8(0x7f) + some,
        "loop_segmented": u8(BULK_MERGEABLE | BULK_LOOPS) + u8(0x7f) + some,
        "loop_merged": u8(both | BULK_LOOPS) + u8(1) + some,
        "loop_hash": u8(both | BULK_HASH | BULK_LOOPS) + u8(0x7f) + some,
        "loop_rules": u8(BULK_MERGEABLE | BULK_LOOPS) + u8(0x7f)
        + bulk_steps((SEND, 0xff, 4), (GIVE, 40, 7), (TURN_ALL, 0, 0), (RULES, 0, 1),
                       (TURN_ALL, 0, 0), (GIVE, 140, 15), (TURN_ALL, 0, 0)),
    }


TARGETS = {
    "split_ring": lambda: ring_seeds(packed=False),
    "packed_ring": lambda: ring_seeds(packed=True),
    "ring_schedule": ring_schedule_seeds,
    "hash": hash_seeds,
    "net_header": net_header_seeds,
    "merge": merge_seeds,
    "registers": registers_seeds,
    "saved_state": saved_state_seeds,
    "handover": handover_seeds,
    "segment": segment_seeds,
    "bulk": bulk_seeds,
    "stream": stream_seeds,
    "vhost_user": vhost_user_seeds,
    "config": config_seeds,
    "control": control_seeds,
    "control_queue": control_queue_seeds,
}


def main():
    for target in sys.argv[1:] or TARGETS:
        folder = os.path.join(HERE, "corpus", target)
        os.makedirs(folder, exist_ok=True)
        for name, data in TARGETS[target]().items():
            with open(os.path.join(folder, name), "wb") as seed:
                seed.write(data)


if __name__ == "__main__":
    main()

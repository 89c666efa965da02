# SPDX-License-Identifier: MIT
"""Queue pairs and receive-side scaling: each frame must come in on the queue that the guest's table says."""

import random
import re

import cases
import traffic
from control_bed import MAC, PAIRS
from wire import (ETHERTYPE_IPV4, TCP, UDP, address_bytes, ethernet, ip_frame, tcp_segment,
                  udp_segment)

FLOWS = 60
SEED = 1
PLAIN_IP = 253  # a protocol number for experiments


def run(test, bed):
    bed.be_quiet()
    pairs(test, bed)
    scaling(test, bed)


def pairs(test, bed):
    frames = [frame for _, frame in flows("udp4")]
    for count in [*range(1, PAIRS + 1), 2, 1]:
        with test.case(f"{count} of {PAIRS} queue pairs: frames on these, and on no other"):
            # ethtool calls it a failure to set what is set already.
            bed.guest.run(f"ethtool -L eth0 combined {count}")
            shown = re.findall(r"^Combined:\s+(\d+)", bed.guest.check("ethtool -l eth0"), re.M)
            cases.expect_equal(shown, [str(PAIRS), str(count)], "pairs that are there, and in use")
            cases.expect_equal(bed.inspect()["active_queues"], count, "pairs that the NIC uses")
            traffic.ping(bed.guest, count=1)
            before = received(bed)
            arrived = sum(frame.ethertype == ETHERTYPE_IPV4 for frame in bed.arrivals(frames))
            cases.expect(arrived >= len(frames), f"{arrived} of {len(frames)} frames came")
            more = [new - old for new, old in zip(received(bed), before)]
            cases.expect(sum(more[count:]) == 0 and sum(more[:count]) >= len(frames),
                         f"frames by pair: {more}")


def received(bed):
    """Frames that each pair brought, as the NIC counts them."""
    queues = bed.inspect()["queues"]
    return [queues[str(index)]["rx_packets"] for index in range(PAIRS)]


def flows(kind, count=FLOWS):
    """(what may be hashed: addresses and ports, frame), always the same ones."""
    source = random.Random(SEED)
    result = []
    for _ in range(count):
        if kind.endswith("6"):
            ends = [bytes.fromhex("fd0a") + source.randbytes(14) for _ in range(2)]
        else:
            ends = [bytes([10, 77]) + source.randbytes(2) for _ in range(2)]
        ports = [source.randrange(1024, 65536) for _ in range(2)]
        protocol = {"tcp": TCP, "udp": UDP, "ip": PLAIN_IP}[kind[:-1]]
        segment = b"no ports in here"
        if protocol == UDP:
            segment = udp_segment(*ends, ports, b"flow")
        elif protocol == TCP:
            segment = tcp_segment(*ends, ports)
        port_bytes = b"".join(port.to_bytes(2, "big") for port in ports)
        result.append(((ends[0] + ends[1], port_bytes),
                       ip_frame(MAC, *ends, protocol, segment)))
    return result


def toeplitz(key, data):
    """virtio 1.4, 5.1.6.4.3"""
    window, result = int.from_bytes(key, "big"), 0
    bits = len(key) * 8
    for place in range(len(data) * 8):
        if data[place // 8] >> (7 - place % 8) & 1:
            result ^= window >> (bits - 32 - place) & 0xFFFFFFFF
    return result


def table_and_key(bed):
    """ethtool -x: the pair of each entry, and the key."""
    shown = bed.guest.check("ethtool -x eth0")
    table = [int(pair) for line in re.findall(r"^\s+\d+:((?:\s+\d+)+)$", shown, re.M)
             for pair in line.split()]
    key = bytes.fromhex(re.search(r"((?:[0-9a-f]{2}:){39}[0-9a-f]{2})", shown)[1].replace(":", ""))
    return table, key


def expect_steered(bed, kind, with_ports):
    """Each pair must get exactly the flows that the guest's table gives it: seen by guest and NIC."""
    table, key = table_and_key(bed)
    wanted = [0] * PAIRS
    frames = flows(kind)
    for (ends, ports), _ in frames:
        hashed = toeplitz(key, ends + (ports if with_ports else b""))
        wanted[table[hashed % len(table)]] += 1
    before, guest_before = received(bed), guest_received(bed)
    for _, frame in frames:
        bed.wire.send(frame)
    cases.eventually(lambda: sum(received(bed)) - sum(before) >= len(frames), 5, "all frames come")
    more = [new - old for new, old in zip(received(bed), before)]
    cases.expect_equal(more, wanted, f"{kind} frames by pair, as the NIC counts")
    bed.guest.check("usleep 20000")
    more = [new - old for new, old in zip(guest_received(bed), guest_before)]
    cases.expect_equal(more, wanted, f"{kind} frames by pair, as the guest counts")


def guest_received(bed):
    statistics = bed.statistics()
    return [statistics.get(f"rx_queue_{index}_packets", 0) for index in range(PAIRS)]


def scaling(test, bed):
    with test.case("RSS: the table and the key are as wide as the NIC says"):
        bed.guest.run(f"ethtool -L eth0 combined {PAIRS}")
        bed.guest.check(f"ethtool -X eth0 equal {PAIRS}")
        bed.set_offloads(rxhash=True)
        table, key = table_and_key(bed)
        cases.expect_equal((len(table), len(key)), (128, 40), "entries and bytes")
        cases.expect_equal(set(table), set(range(PAIRS)), "pairs in the table")
    hashed_fields(test, bed)
    with test.case("RSS: weights"):
        bed.guest.check("ethtool -X eth0 weight 1 0 3 0")
        expect_steered(bed, "tcp4", with_ports=True)
    with test.case("RSS: another key"):
        key = ":".join(f"{byte:02x}" for byte in random.Random(SEED).randbytes(40))
        bed.guest.check(f"ethtool -X eth0 equal {PAIRS} hkey {key}")
        cases.expect_equal(table_and_key(bed)[1], bytes.fromhex(key.replace(":", "")), "key")
        expect_steered(bed, "tcp6", with_ports=True)
    with test.case("RSS: everything to one pair"):
        bed.guest.check("ethtool -X eth0 weight 0 0 0 1")
        expect_steered(bed, "udp4", with_ports=True)
    with test.case("RSS: without hashing all frames come on the first pair"):
        bed.guest.check(f"ethtool -X eth0 equal {PAIRS}")
        bed.set_offloads(rxhash=False)
        before = received(bed)
        bed.arrivals([frame for _, frame in flows("tcp4")])
        more = [new - old for new, old in zip(received(bed), before)]
        cases.expect(more[0] >= FLOWS and not any(more[1:]), f"frames by pair: {more}")
        bed.set_offloads(rxhash=True)
        expect_steered(bed, "tcp4", with_ports=True)
    with test.case("after ethtool -L the number of pairs counts again"):
        bed.guest.check("ethtool -X eth0 default && ethtool -L eth0 combined 1")
        before = received(bed)
        bed.arrivals([frame for _, frame in flows("tcp4")])
        more = [new - old for new, old in zip(received(bed), before)]
        cases.expect(more[0] >= FLOWS and not any(more[1:]), f"frames by pair: {more}")


def hashed_fields(test, bed):
    for kind in ("tcp4", "udp4", "tcp6", "udp6"):
        with test.case(f"RSS: {kind} by addresses and ports"):
            bed.guest.check(f"ethtool -N eth0 rx-flow-hash {kind} sdfn")
            expect_steered(bed, kind, with_ports=True)
    for kind in ("tcp4", "udp4", "tcp6", "udp6"):
        with test.case(f"RSS: {kind} by addresses only"):
            bed.guest.check(f"ethtool -N eth0 rx-flow-hash {kind} sd")
            shown = bed.guest.check(f"ethtool -n eth0 rx-flow-hash {kind}")
            cases.expect("IP SA" in shown and "L4" not in shown, shown)
            expect_steered(bed, kind, with_ports=False)
        bed.guest.check(f"ethtool -N eth0 rx-flow-hash {kind} sdfn")
    for kind in ("ip4", "ip6"):
        with test.case(f"RSS: {kind} of another protocol by addresses"):
            expect_steered(bed, kind, with_ports=False)
    with test.case("RSS: what has no hash comes on the first pair"):
        before = received(bed)
        bed.arrivals([ethernet(MAC, b"no IP")] * FLOWS)
        more = [new - old for new, old in zip(received(bed), before)]
        cases.expect(more[0] >= FLOWS and not any(more[1:]), f"frames by pair: {more}")

# SPDX-License-Identifier: MIT
"""Counters of the guest and of the NIC against what was sent, the MTU, and fewer interrupts on request."""

import re

import cases
import traffic
from control_bed import LAST, MAC, MTU, TAP
from wire import BROADCAST, STRANGER, ethernet

FRAMES = 100
LENGTH = 200
HELD_FRAMES, HELD_USECS = 32, 20000


def run(test, bed):
    bed.be_quiet()
    counters(test, bed)
    mtu(test, bed)
    coalescing(test, bed)


def counted(bed):
    """Packets and bytes, as three count them: (guest's ethtool -S, guest's interface, NIC)."""
    queues, pairs = bed.statistics(), bed.inspect()["queues"].values()
    interface = traffic.guest_counters(bed.guest)
    result = {}
    for way in ("rx", "tx"):
        for what in ("packets", "bytes"):
            by_queue = sum(value for name, value in queues.items()
                           if re.fullmatch(rf"{way}_queue_\d+_{what}", name))
            result[f"{way}_{what}"] = (by_queue, interface[f"{way}_{what}"],
                                       sum(pair[f"{way}_{what}"] for pair in pairs))
    return result


def expect_counted(before, after, name, amount):
    more = tuple(new - old for new, old in zip(after[name], before[name]))
    cases.expect_equal(more, (amount,) * 3, f"{name} of queues, interface and NIC")


def counters(test, bed):
    with test.case("each frame to the guest is counted once by all who count"):
        before = counted(bed)
        bed.arrivals([ethernet(MAC, bytes(LENGTH - 14))] * FRAMES)
        after = counted(bed)
        expect_counted(before, after, "rx_packets", FRAMES + 1)
        expect_counted(before, after, "rx_bytes", FRAMES * LENGTH + len(LAST))
        expect_counted(before, after, "tx_packets", 0)
    with test.case("each frame from the guest is counted once by all who count"):
        before = counted(bed)
        bed.wire.forget()
        frame = ethernet(BROADCAST, bytes(LENGTH - 14), source=MAC)
        bed.guest.check(f"frames send eth0 {FRAMES} {frame.hex()}")
        sent = bed.wire.capture(0.3)
        cases.expect_equal([caught.bytes for caught in sent], [frame] * FRAMES, "frames on the tap")
        after = counted(bed)
        expect_counted(before, after, "tx_packets", FRAMES)
        expect_counted(before, after, "tx_bytes", FRAMES * LENGTH)
        expect_counted(before, after, "rx_packets", 0)
    with test.case("frames that the guest did not want are counted as that, and only there"):
        before, drops = counted(bed), rx_drops(bed)
        bed.arrivals([ethernet(STRANGER, bytes(LENGTH - 14))] * FRAMES)
        expect_counted(before, counted(bed), "rx_packets", 1)
        drops = {name: count - drops.get(name, 0) for name, count in rx_drops(bed).items()}
        cases.expect_equal(drops.get("filtered"), FRAMES, f"drops {drops}")


def rx_drops(bed):
    total = {}
    for pair in bed.inspect()["queues"].values():
        for name, count in pair.get("rx_drops", {}).items():
            total[name] = total.get(name, 0) + count
    return total


def mtu(test, bed):
    with test.case("the MTU may be set up to the NIC's and no further"):
        link = bed.guest.check("ip link show eth0")
        cases.expect("mtu 1500 " in link, link)
        bed.guest.check(f"ip link set eth0 mtu {MTU}")
        status, _ = bed.guest.run(f"ip link set eth0 mtu {MTU + 1}")
        cases.expect(status != 0, f"an MTU of {MTU + 1} was taken")
    with test.case("frames of the MTU's size go both ways in one piece"):
        bed.network.run("ip", "link", "set", TAP, "mtu", str(MTU))
        bed.wire.forget()
        traffic.ping(bed.guest, count=2, size=MTU - 28)
        lengths = {frame.length for frame in bed.wire.capture(0)}
        cases.expect(MTU + 14 in lengths, f"frames of {lengths} bytes")
    with test.case("the MTU is 1500 again: pings come in pieces"):
        bed.guest.check("ip link set eth0 mtu 1500")
        bed.wire.forget()
        traffic.ping(bed.guest, count=1, size=4000)
        cases.expect(max(frame.length for frame in bed.wire.capture(0)) <= 1514, "a large frame")
        bed.network.run("ip", "link", "set", TAP, "mtu", "1500")


def coalescing(test, bed):
    def interrupts(ring):
        return sum(pair[ring]["interrupts"] for pair in bed.inspect()["queues"].values())

    def round_trip():
        """The shortest of five: what a busy machine adds is not meant."""
        output = bed.guest.check(f"ping -q -c 5 -i 0.1 -W 5 {traffic.HOST}")
        return float(re.search(r"= ([\d.]+)/", output)[1])

    with test.case("ethtool -C: many frames to the guest, few interrupts"):
        # Linux 6.1 takes `tx-frames 0` for a wish to do without NAPI, hence 1 throughout.
        bed.guest.check(f"ethtool -C eth0 rx-frames {HELD_FRAMES} rx-usecs {HELD_USECS} "
                        "tx-frames 1")
        shown = bed.guest.check("ethtool -c eth0")
        cases.expect(re.search(rf"rx-usecs:\s+{HELD_USECS}\b", shown), shown)
        before = interrupts("rx_ring")
        came = bed.arrivals([ethernet(MAC, bytes(LENGTH - 14))] * 10 * HELD_FRAMES)
        cases.expect(len(came) > 10 * HELD_FRAMES, f"only {len(came)} frames came")
        more = interrupts("rx_ring") - before
        cases.expect(0 < more <= 10 * HELD_FRAMES / 4, f"{more} interrupts for {len(came)} frames")
    with test.case("a lone frame waits for its time and no longer"):
        held = round_trip()
        cases.expect(HELD_USECS * 0.5e-3 < held < HELD_USECS * 5e-3, f"{held} ms")
    with test.case("ethtool -C: many frames from the guest, few interrupts"):
        bed.guest.check(f"ethtool -C eth0 rx-frames 1 rx-usecs 0 "
                        f"tx-frames {HELD_FRAMES} tx-usecs {HELD_USECS}")
        before = interrupts("tx_ring")
        frame = ethernet(BROADCAST, bytes(LENGTH - 14), source=MAC)
        bed.guest.check(f"frames send eth0 {10 * HELD_FRAMES} {frame.hex()}")
        more = interrupts("tx_ring") - before
        cases.expect(more <= 10 * HELD_FRAMES / 4, f"{more} interrupts")
    with test.case("ethtool -C: back to an interrupt at once"):
        bed.guest.check("ethtool -C eth0 tx-frames 1 tx-usecs 0")
        traffic.ping(bed.guest)
        prompt = round_trip()
        cases.expect(prompt < HELD_USECS * 0.5e-3, f"{prompt} ms")

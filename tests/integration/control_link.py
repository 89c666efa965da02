# SPDX-License-Identifier: MIT
"""What the operator sets while the guest runs: link, speed, announcement, address and MTU."""

import cases
import traffic
from control_bed import MAC
from wire import ETHERTYPE_ARP, ETHERTYPE_IPV6, ICMPV6, address_bytes, ethernet, mac_bytes

NEIGHBOUR_ADVERTISEMENT = 136


def run(test, bed):
    link(test, bed)
    speed(test, bed)
    if "guest_announce" in bed.features():
        announcement(test, bed)


def has_carrier(bed):
    return bed.guest.run("cat /sys/class/net/eth0/carrier") == (0, "1")


def expect_carrier(bed, wanted):
    cases.eventually(lambda: has_carrier(bed) == wanted, 10,
                     f"the guest sees the link {'up' if wanted else 'down'}", 0.05)


def link(test, bed):
    with test.case("link=down: the guest's carrier goes, and no frame moves"):
        bed.daemon.must_set("tap.link=down")
        expect_carrier(bed, False)
        cases.expect_equal(bed.inspect()["link"], "down", "link that inspect shows")
        before = traffic.guest_counters(bed.guest)["rx_packets"]
        bed.wire.forget()
        for _ in range(20):
            bed.wire.send(ethernet(MAC, b"into a pulled cable"))
        bed.guest.run(f"frames send eth0 20 {ethernet(MAC, b'from a pulled cable').hex()}")
        cases.expect(not traffic.answers(bed.guest), "an answer over a link that is down")
        cases.expect_equal(bed.wire.capture(0), [], "frames on the tap")
        after = traffic.guest_counters(bed.guest)["rx_packets"]
        cases.expect_equal(after, before, "frames that the guest received")
    with test.case("link=up: the carrier comes back, and frames move"):
        bed.daemon.must_set("tap.link=up")
        expect_carrier(bed, True)
        traffic.ping(bed.guest)
        stale = [frame for frame in bed.arrivals([]) if b"pulled cable" in frame.bytes]
        cases.expect_equal(stale, [], "frames from before")
    with test.case("link down and up ten times at once: the last word counts"):
        for _ in range(10):
            bed.daemon.must_set("tap.link=down")
            bed.daemon.must_set("tap.link=up")
        expect_carrier(bed, True)
        traffic.ping(bed.guest)


def speed(test, bed):
    def shows(*words):
        output = bed.guest.check("ethtool eth0")
        return all(word in output for word in words) and has_carrier(bed)

    for mbps, duplex in ((25000, "half"), (100000, "full")):
        with test.case(f"speed={mbps} duplex={duplex}: the guest's ethtool shows them"):
            bed.daemon.must_set(f"tap.speed={mbps}", f"tap.duplex={duplex}")
            cases.eventually(lambda: shows(f"Speed: {mbps}Mb/s", f"Duplex: {duplex.title()}"), 10,
                             "the guest shows the new speed")
            traffic.ping(bed.guest, count=1)


def is_gratuitous(frame):
    guest = address_bytes(traffic.GUEST)
    return (frame.ethertype == ETHERTYPE_ARP and frame.bytes[6:12] == mac_bytes(MAC)
            and frame.bytes[28:32] == guest == frame.bytes[38:42])


def is_advertisement(frame):
    return (frame.ethertype == ETHERTYPE_IPV6 and frame.bytes[20] == ICMPV6
            and frame.bytes[54] == NEIGHBOUR_ADVERTISEMENT)


def announcement(test, bed):
    with test.case("announce=now: the guest tells the network its address"):
        bed.wire.forget()
        bed.daemon.must_set("tap.announce=now")
        frames = bed.wire.capture(10, until=is_gratuitous)
        cases.expect(any(map(is_gratuitous, frames)), "no gratuitous ARP")
        cases.eventually(lambda: not bed.inspect()["announce_pending"], 5,
                         "the guest says that it did")
    with test.case("announce=now again: it does so again, for IPv6 too"):
        bed.wire.forget()
        bed.daemon.must_set("tap.announce=now")
        frames = bed.wire.capture(10, until=is_advertisement)
        cases.expect(any(map(is_advertisement, frames)), "no neighbour advertisement")
        cases.expect(any(map(is_gratuitous, frames)), "no gratuitous ARP")

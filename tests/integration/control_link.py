# SPDX-License-Identifier: MIT
"""What the operator sets while the guest runs: link, speed, announcement, address and MTU."""

import contextlib

import cases
import traffic
from control_bed import LAST, MAC, MTU
from control_filters import expect_taken
from wire import (BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV6, ICMPV6, address_bytes, ethernet,
                  mac_bytes)

NEW_MAC = "52:54:00:00:00:bb"
NEW_MTU = 4000
OTHER_MAC = "52:54:00:00:00:cc"  # of the guest's choice
NEIGHBOUR_ADVERTISEMENT = 136


def run(test, bed):
    link(test, bed)
    speed(test, bed)
    announcement(test, bed)
    identity(test, bed)
    forgetting(test, bed)


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
    for attempt in ("announce=now", "announce=now again"):
        with test.case(f"{attempt}: the guest tells the network its addresses"):
            missing = [is_gratuitous, is_advertisement]

            def was_last(frame):
                missing[:] = [is_wanted for is_wanted in missing if not is_wanted(frame)]
                return not missing

            bed.wire.forget()
            bed.daemon.must_set("tap.announce=now")
            bed.wire.capture(10, until=was_last)
            cases.expect_equal(missing, [], "frames that did not come")
            cases.eventually(lambda: not bed.inspect()["announce_pending"], 5,
                             "the guest says that it did")


@contextlib.contextmanager
def without_driver(bed):
    """The guest's driver is taken off the NIC and put back."""
    bed.guest.check(f"echo virtio0 >{traffic.guest_driver_path()}/unbind")
    yield
    bed.guest.check(f"echo virtio0 >{traffic.guest_driver_path()}/bind")
    traffic.set_address(bed.guest, mtu=1500)


def identity(test, bed):
    with test.case("another MTU is refused while the driver goes by it"):
        status, complaint = bed.daemon.set(f"tap.mtu={NEW_MTU}")
        cases.expect(status == 1 and str(MTU) in complaint, f"{status}: {complaint}")
    with test.case("another address of the operator does not cut the driver off that has read one"):
        bed.daemon.must_set(f"tap.mac={NEW_MAC}")
        expect_taken(bed, [MAC, BROADCAST], [NEW_MAC])
        traffic.ping(bed.guest)
        bed.daemon.must_set(f"tap.mac={MAC}")
    with test.case("address and MTU that were set while the driver was off are there when it is back"):
        with without_driver(bed):
            bed.daemon.must_set(f"tap.mtu={NEW_MTU}", f"tap.mac={NEW_MAC}")
        cases.expect_equal(bed.guest.check("cat /sys/class/net/eth0/address"), NEW_MAC, "address")
        bed.guest.check(f"ip link set eth0 mtu {NEW_MTU}")
        status, _ = bed.guest.run(f"ip link set eth0 mtu {NEW_MTU + 1}")
        cases.expect(status != 0, f"an MTU of {NEW_MTU + 1} was taken")
        traffic.ping(bed.guest)
        came = {frame.payload.rstrip(b"\0") for frame in
                bed.arrivals([ethernet(NEW_MAC, b"to the new address")])}
        cases.expect_equal(came, {b"to the new address", LAST[14:].rstrip(b"\0")}, "frames")
    with test.case("address and MTU are as before, after another rebind"):
        with without_driver(bed):
            bed.daemon.must_set(f"tap.mtu={MTU}", f"tap.mac={MAC}")
        cases.expect_equal(bed.guest.check("cat /sys/class/net/eth0/address"), MAC, "address")
        traffic.ping(bed.guest)


def forgetting(test, bed):
    with test.case("a driver that comes anew finds nothing of what the one before has set"):
        bed.guest.check("ethtool -L eth0 combined 2 && ethtool -X eth0 weight 0 1")
        bed.guest.check("ethtool -C eth0 rx-usecs 50000 rx-frames 64 tx-frames 1")
        bed.set_offloads(**{"rx-gro-hw": False, "rxhash": True})
        bed.guest.check("ip link add link eth0 name eth0.5 type vlan id 5 && ip link set eth0.5 up")
        bed.guest.check(f"ifconfig eth0 promisc && ip link set eth0 address {OTHER_MAC}")
        cases.expect_equal(bed.inspect()["mac_address"], OTHER_MAC, "address before")
        with without_driver(bed):
            pass
        cases.expect_equal(bed.guest.check("cat /sys/class/net/eth0/address"), MAC, "address")
        expect_taken(bed, [MAC, BROADCAST], [OTHER_MAC, (MAC, 5), "01:00:5e:01:02:03"])
        shown = bed.inspect()
        cases.expect_equal(shown["active_queues"], 1, "pairs in use")
        cases.expect_equal(shown["rx_offloads_off"], "0x0", "offloads switched off")
        cases.expect_equal(shown["coalescing"]["rx"], {"max_packets": 0, "max_usecs": 0},
                           "interrupts held back")
        traffic.ping(bed.guest)

# SPDX-License-Identifier: MIT
"""Receive modes, addresses and VLANs: frames that must reach the guest, and frames that must not."""

import contextlib

import cases
import traffic
from control_bed import MAC
from wire import BROADCAST, ETHERTYPE_ARP, ethernet, mac_bytes

ALL_NODES = "33:33:00:00:00:01"  # what every IPv6 host listens to
OTHER = "52:54:00:00:00:dd"
OTHER_GROUP = "01:00:5e:01:02:03"
NEW_MAC = "52:54:00:00:00:aa"
MANY = [f"01:00:5e:02:00:{number:02x}" for number in range(80)]  # more than the NIC's table holds
VLAN, OTHER_VLAN = 5, 6
VLAN_GUEST, VLAN_HOST = "10.5.0.2", "10.5.0.1"


def run(test, bed):
    modes(test, bed)
    addresses(test, bed)
    own_address(test, bed)
    vlans(test, bed)


def expect_taken(bed, taken, refused, macs=()):
    """Each is a destination, or (destination, VLAN)."""
    wanted = {f"{place} {target}".encode(): target for place, target in enumerate(taken)}
    unwanted = {f"no {place} {target}".encode(): target for place, target in enumerate(refused)}
    frames = []
    for label, target in {**unwanted, **wanted}.items():
        destination, vlan = target if isinstance(target, tuple) else (target, None)
        frames.append(ethernet(destination, label, vlan=vlan))
    came = {frame.payload.rstrip(b"\0") for frame in bed.arrivals(frames, macs)}
    missing = [target for label, target in wanted.items() if label not in came]
    uninvited = [target for label, target in unwanted.items() if label in came]
    cases.expect(not missing and not uninvited, f"missing: {missing}, uninvited: {uninvited}")


@contextlib.contextmanager
def mode(bed, name):
    bed.guest.check(f"ifconfig eth0 {name}")
    yield
    bed.guest.check(f"ifconfig eth0 -{name}")


def modes(test, bed):
    with test.case("only what is for the guest comes in"):
        expect_taken(bed, [MAC, BROADCAST, ALL_NODES], [OTHER, OTHER_GROUP])
    with test.case("promiscuous: everything comes in"), mode(bed, "promisc"):
        expect_taken(bed, [MAC, BROADCAST, OTHER, OTHER_GROUP], [])
    with test.case("promiscuous no more"):
        expect_taken(bed, [MAC, BROADCAST, ALL_NODES], [OTHER, OTHER_GROUP])
    with test.case("all multicast: every group, no other address"), mode(bed, "allmulti"):
        expect_taken(bed, [MAC, BROADCAST, OTHER_GROUP, *MANY], [OTHER])
    with test.case("all multicast no more"):
        expect_taken(bed, [MAC, ALL_NODES], [OTHER_GROUP, *MANY])


def addresses(test, bed):
    with test.case("a group and a second address are added"):
        expect_taken(bed, [MAC, OTHER_GROUP, OTHER], MANY, macs=[OTHER_GROUP, OTHER])
    with test.case("a group and a second address are removed"):
        expect_taken(bed, [MAC, BROADCAST], [OTHER_GROUP, OTHER])
    with test.case("more groups than the table holds: all of them come in"):
        expect_taken(bed, [MAC, BROADCAST, *MANY], [OTHER], macs=MANY)
    with test.case("the table is small again"):
        expect_taken(bed, [MAC, ALL_NODES], MANY)
    with test.case("an IPv6 address brings its group"):
        solicited = "33:33:ff:12:34:56"
        expect_taken(bed, [], [solicited])
        bed.guest.check("ip address add fd09::12:3456/64 dev eth0")
        expect_taken(bed, [solicited], [])
        bed.guest.check("ip address del fd09::12:3456/64 dev eth0")
        expect_taken(bed, [], [solicited])


def own_address(test, bed):
    with test.case("the guest takes another MAC address"):
        bed.guest.check(f"ip link set eth0 address {NEW_MAC}")
        expect_taken(bed, [NEW_MAC, BROADCAST], [MAC])
        bed.wire.forget()
        bed.guest.run(f"ping -q -c 1 -W 1 {traffic.HOST}")
        sources = {frame.bytes[6:12] for frame in bed.wire.capture(0)}
        cases.expect_equal(sources, {mac_bytes(NEW_MAC)}, "sender of the guest's frames")
        cases.expect_equal(bed.inspect()["mac_address"], NEW_MAC, "address that inspect shows")
    with test.case("the guest takes its own MAC address back"):
        bed.guest.check(f"ip link set eth0 address {MAC}")
        expect_taken(bed, [MAC, BROADCAST], [NEW_MAC])
        traffic.ping(bed.guest)


def vlans(test, bed):
    with test.case("no VLAN comes in before there is one"):
        expect_taken(bed, [MAC, BROADCAST], [(MAC, VLAN), (BROADCAST, VLAN), (MAC, OTHER_VLAN)])
    with test.case("a VLAN device brings its VLAN in, and no other"):
        bed.guest.check(f"ip link add link eth0 name eth0.{VLAN} type vlan id {VLAN}; "
                        f"ip address add {VLAN_GUEST}/24 dev eth0.{VLAN}; "
                        f"ip link set eth0.{VLAN} up")
        with_priority = 3 << 13 | VLAN
        expect_taken(bed, [MAC, (MAC, VLAN), (MAC, with_priority), (BROADCAST, VLAN)],
                     [(MAC, OTHER_VLAN), (OTHER, VLAN), (BROADCAST, OTHER_VLAN), (MAC, 4095)])
    with test.case("the guest answers in its VLAN"):
        answer = ask_for_address(bed, VLAN)
        cases.expect(answer, "no answer to an ARP request in the VLAN")
    with test.case("the VLAN goes with its device"):
        bed.guest.check(f"ip link del eth0.{VLAN}")
        expect_taken(bed, [MAC, BROADCAST], [(MAC, VLAN), (BROADCAST, VLAN)])


def ask_for_address(bed, vlan):
    """The frame that answers an ARP request."""
    request = (bytes.fromhex("0001080006040001") + mac_bytes(OTHER) + bytes([10, 5, 0, 1])
               + bytes(6) + bytes([10, 5, 0, 2]))
    tag = vlan.to_bytes(2, "big") + ETHERTYPE_ARP.to_bytes(2, "big") + b"\0\1\x08\0\6\4\0\2"

    def answers(frame):
        return frame.bytes[0:6] == mac_bytes(OTHER) and frame.bytes[14:26] == tag

    bed.wire.forget()
    bed.wire.send(ethernet(BROADCAST, request, ETHERTYPE_ARP, source=OTHER, vlan=vlan))
    return any(answers(frame) for frame in bed.wire.capture(3, until=answers))

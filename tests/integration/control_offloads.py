# SPDX-License-Identifier: MIT
"""Checksum and segmentation offloads: what ethtool says of them, what the frames look like with each on
and off, and that data are the same at the other end."""

import collections
import hashlib
import os

import cases
import traffic
from control_bed import GUEST6, HOST6, MAC
from wire import (GSO_NONE, GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM, UDP, VNET_HEADER,
                  address_bytes, ip_frame, ones_sum, pseudo_sum, segment_of, udp_segment)

Ip = collections.namedtuple("Ip", "name host guest gso")
IPV4 = Ip("TCP over IPv4", traffic.HOST, traffic.GUEST, GSO_TCPV4)
IPV6 = Ip("TCP over IPv6", HOST6, GUEST6, GSO_TCPV6)

MEGABYTE = 1 << 20
MTU_FRAME = 1514
BIG = 8000  # bytes of a frame that only segmentation offload makes

# What Linux 6.1's virtio_net and its rings know, by bit.
DRIVER_KNOWS = {
    "csum": 0, "guest_csum": 1, "ctrl_guest_offloads": 2, "mtu": 3, "mac": 5, "guest_tso4": 7,
    "guest_tso6": 8, "guest_ecn": 9, "guest_ufo": 10, "host_tso4": 11, "host_tso6": 12,
    "host_ecn": 13, "host_ufo": 14, "mrg_rxbuf": 15, "status": 16, "ctrl_vq": 17, "ctrl_rx": 18,
    "ctrl_vlan": 19, "guest_announce": 21, "mq": 22, "ctrl_mac_addr": 23, "indirect_desc": 28,
    "event_idx": 29, "version_1": 32, "access_platform": 33, "ring_packed": 34,
    "order_platform": 36, "notf_coal": 53, "hash_report": 57, "rss": 60, "standby": 62,
    "speed_duplex": 63,
}

# Standby is for half a NIC, the others for one behind an IOMMU.
NOT_OFFERED = {"standby", "access_platform", "order_platform"}

# ethtool's name -> the virtio features of which one turns it on.
ETHTOOL_FEATURES = {
    "tx-checksum-ip-generic": {"csum"},
    "rx-checksumming": {"guest_csum"},
    "tx-tcp-segmentation": {"host_tso4"},
    "tx-tcp6-segmentation": {"host_tso6"},
    "tx-tcp-ecn-segmentation": {"host_ecn"},
    "rx-gro-hw": {"guest_tso4", "guest_tso6"},
    "rx-vlan-filter": {"ctrl_vlan"},
}


def run(test, bed):
    agreement(test, bed)
    for ip in (IPV4, IPV6):
        from_guest(test, bed, ip)
        to_guest(test, bed, ip)
    checksums(test, bed)


def agreement(test, bed):
    with test.case("the driver agrees to all that it knows of the offer"):
        agreed = bed.features()
        cases.expect_equal(agreed, bed.features("offered") & set(DRIVER_KNOWS), "features agreed")
        cases.expect_equal(set(DRIVER_KNOWS) - agreed, NOT_OFFERED, "features not agreed")
        bits = bed.guest.check("cat /sys/class/net/eth0/device/features").strip()
        told = {bit for bit, digit in enumerate(bits) if digit == "1"}
        cases.expect_equal(told, {DRIVER_KNOWS[name] for name in agreed}, "bits in the guest")
    with test.case("ethtool shows what was agreed"):
        agreed, offloads = bed.features(), bed.offloads()
        for name, features in ETHTOOL_FEATURES.items():
            cases.expect_equal(offloads[name][0], bool(features & agreed), name)
        for name in ("rx-gro-hw", "receive-hashing"):
            cases.expect(offloads[name][1], f"{name} can't be changed")


def upload(bed, guest_address):
    """The guest sends random bytes, which must come through. Returns the data frames."""
    wanted = bed.guest.check(f"head -c {MEGABYTE} /dev/urandom >/tmp/up; sha256sum </tmp/up")
    bed.wire.forget()
    body = bed.fetch(guest_address)
    cases.expect_equal(hashlib.sha256(body).hexdigest(), wanted.split()[0],
                       f"checksum of {len(body)} bytes from the guest")
    segments = [(frame, segment_of(frame)) for frame in bed.wire.capture(0)]
    return [(frame, segment) for frame, segment in segments
            if segment and segment.ports[0] == 80 and len(segment.data) > 100]


def download(bed, host_address):
    """The guest receives random bytes, which must come through. Returns (flags, GSO type, GSO size,
    length) of what came into the guest."""
    data = os.urandom(MEGABYTE)
    bed.guest.check("frames listen eth0 >/tmp/came & while ! [ -s /tmp/came ]; "
                    "do usleep 10000; done")
    with bed.offer(host_address, data) as port:
        got = bed.guest.check(f"nc {host_address} {port} </dev/null | sha256sum", 60)
    cases.expect_equal(got.split()[0], hashlib.sha256(data).hexdigest(), "checksum in the guest")
    bed.end_listening()
    lines = bed.guest.check("wait; sed 1d /tmp/came | cut -d' ' -f1-4 | sort -u").splitlines()
    return [tuple(map(int, line.split())) for line in lines]


def from_guest(test, bed, ip):
    def expect_frames(frames, segmented, begun):
        longest = max(frame.length for frame, _ in frames)
        if segmented:
            cases.expect(longest > BIG, f"the longest frame has {longest} bytes")
        else:
            cases.expect(longest <= MTU_FRAME, f"the longest frame has {longest} bytes")
        for frame, segment in frames:
            kind = ip.gso if frame.length > MTU_FRAME else GSO_NONE
            cases.expect_equal(frame.gso_type & 0x7F, kind, f"GSO type of {frame.length} bytes")
            if kind != GSO_NONE:
                cases.expect(1000 < frame.gso_size <= 1460, f"GSO size {frame.gso_size}")
            if begun:
                cases.expect(frame.flags & NEEDS_CSUM, "a whole checksum, with tx on")
            else:
                cases.expect(not frame.flags & NEEDS_CSUM, "a begun checksum, with tx off")
                cases.expect(segment.checksum_is_right(), "a wrong checksum, with tx off")

    with test.case(f"{ip.name} from the guest: large frames, checksums begun"):
        expect_frames(upload(bed, ip.guest), segmented=True, begun=True)
    with test.case(f"{ip.name} from the guest, tso off: frames of the MTU's size"):
        bed.set_offloads(tso=False)
        expect_frames(upload(bed, ip.guest), segmented=False, begun=True)
    with test.case(f"{ip.name} from the guest, gso off too"):
        bed.set_offloads(gso=False)
        expect_frames(upload(bed, ip.guest), segmented=False, begun=True)
    with test.case(f"{ip.name} from the guest, tx off: checksums are whole"):
        bed.set_offloads(tx=False)
        expect_frames(upload(bed, ip.guest), segmented=False, begun=False)
    with test.case(f"{ip.name} from the guest, all on again"):
        bed.set_offloads(tx=True, gso=True, tso=True)
        expect_frames(upload(bed, ip.guest), segmented=True, begun=True)


def to_guest(test, bed, ip):
    def longest(frames):
        return max(length for _, _, _, length in frames)

    with test.case(f"{ip.name} to the guest, gro off: the NIC brings large frames"):
        bed.set_offloads(gro=False)
        frames = download(bed, ip.host)
        cases.expect(longest(frames) > BIG, f"the longest frame has {longest(frames)} bytes")
        for _, kind, size, length in frames:
            if length > MTU_FRAME:
                cases.expect_equal(kind & 0x7F, ip.gso, f"GSO type of {length} bytes")
                cases.expect(1000 < size <= 1460, f"GSO size {size}")
    with test.case(f"{ip.name} to the guest, rx-gro-hw off: frames of the MTU's size"):
        bed.set_offloads(**{"rx-gro-hw": False})
        frames = download(bed, ip.host)
        cases.expect(longest(frames) <= MTU_FRAME, f"a frame of {longest(frames)} bytes")
        cases.expect(all(kind == GSO_NONE for _, kind, _, _ in frames), f"GSO: {frames}")
    with test.case(f"{ip.name} to the guest, gro on: its kernel joins frames itself"):
        bed.set_offloads(gro=True)
        cases.expect(longest(download(bed, ip.host)) > MTU_FRAME, "nothing was joined")
    with test.case(f"{ip.name} to the guest, rx-gro-hw on again"):
        bed.set_offloads(**{"gro": False, "rx-gro-hw": True})
        frames = download(bed, ip.host)
        cases.expect(longest(frames) > BIG, f"the longest frame has {longest(frames)} bytes")
    bed.set_offloads(gro=True)


def checksums(test, bed):
    """UDP datagrams with good, begun and bad checksums, made on the host's side."""
    source, destination = address_bytes(traffic.HOST), address_bytes(traffic.GUEST)
    good = udp_segment(source, destination, (9, 9), b"good")

    def expect_verdict(segment, counter, header=bytes(VNET_HEADER.size)):
        """Nobody listens, so a datagram counts as one without a port once its checksum is believed."""
        before = udp_counters(bed)
        for _ in range(10):
            bed.wire.send(ip_frame(MAC, source, destination, UDP, segment), header)
        bed.arrivals([])
        after = udp_counters(bed)
        for name in ("NoPorts", "InCsumErrors"):
            cases.expect_equal(after[name] - before[name], 10 if name == counter else 0, name)

    with test.case("whole checksums that are right are taken"):
        expect_verdict(good, "NoPorts")
    with test.case("whole checksums that are wrong reach the guest as they are"):
        expect_verdict(good[:6] + bytes([good[6] ^ 0xFF, good[7]]) + good[8:], "InCsumErrors")
    with test.case("begun checksums are taken"):
        pseudo = ones_sum(pseudo_sum(source, destination, UDP, len(good)).to_bytes(4, "big"))
        header = VNET_HEADER.pack(NEEDS_CSUM, GSO_NONE, 0, 0, 34, 6)
        expect_verdict(good[:6] + pseudo.to_bytes(2, "big") + good[8:], "NoPorts", header)


def udp_counters(bed):
    lines = [line.split()[1:] for line in bed.guest.check("cat /proc/net/snmp").splitlines()
             if line.startswith("Udp:")]
    return dict(zip(lines[0], map(int, lines[1])))

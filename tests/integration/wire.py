# SPDX-License-Identifier: MIT
"""Frames, one by one, at the host's end of a guest's network: made, sent, captured, taken apart.

A Wire is a packet socket on an interface in the test's Network, with a virtio_net_hdr in front of each
frame, so that segmentation and begun checksums are seen, and can be sent, as they are.
"""

import select
import socket
import struct
import time
from dataclasses import dataclass

from network import Network

SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_VNET_HDR = 15
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33
AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata
TP_STATUS_VLAN_VALID = 1 << 4
VNET_HEADER = struct.Struct("<BBHHHH")

NEEDS_CSUM = 1
DATA_VALID = 2
GSO_NONE = 0
GSO_TCPV4 = 1
GSO_TCPV6 = 4
GSO_ECN = 0x80

ETHERTYPE_LOCAL = 0x88B5  # for experiments: no stack listens to it
ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
ETHERTYPE_ARP = 0x0806
ETHERTYPE_VLAN = 0x8100
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58

BROADCAST = "ff:ff:ff:ff:ff:ff"
STRANGER = "52:54:00:99:00:01"  # who sends the frames that a test makes


@dataclass
class Frame:
    """What came by, and what its virtio_net_hdr said."""
    flags: int
    gso_type: int
    gso_size: int
    length: int
    bytes: bytes

    @property
    def ethertype(self):
        return int.from_bytes(self.bytes[12:14], "big")

    @property
    def payload(self):
        return self.bytes[14:]


class Wire:
    def __init__(self, network: Network, interface):
        self._socket = network.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._grow()
        self._socket.bind((interface, 0x0003))

    def _grow(self):
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        except PermissionError:  # not root: what an ordinary user may have must do
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, frame, header=bytes(VNET_HEADER.size)):
        self._socket.send(header + frame)

    def forget(self):
        """What came by until now is not asked for."""
        self.capture(0)

    def capture(self, seconds, until=None):
        """What the guest sends in so many seconds, or until until(frame) is true."""
        deadline = time.monotonic() + seconds
        frames = []
        while True:
            left = max(0, deadline - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                return frames
            frame = self._receive()
            if frame is None:
                continue
            frames.append(frame)
            if until and until(frame):
                return frames

    def _receive(self):
        data, notes, _, address = self._socket.recvmsg(VNET_HEADER.size + (1 << 17),
                                                       socket.CMSG_SPACE(AUXDATA.size))
        if address[2] == PACKET_OUTGOING:
            return None
        flags, gso_type, _, gso_size, _, _ = VNET_HEADER.unpack_from(data)
        frame = data[VNET_HEADER.size:]
        for level, kind, note in notes:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                frame = with_vlan(frame, note)
        return Frame(flags, gso_type, gso_size, len(frame), frame)


def with_vlan(frame, note):
    """The kernel has taken the tag off and shows it beside the frame."""
    status, _, _, _, _, tag, ethertype = AUXDATA.unpack(note[:AUXDATA.size])
    if not status & TP_STATUS_VLAN_VALID:
        return frame
    return frame[:12] + struct.pack(">HH", ethertype or ETHERTYPE_VLAN, tag) + frame[12:]


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def ethernet(destination, payload, ethertype=ETHERTYPE_LOCAL, source=STRANGER, vlan=None):
    tag = b"" if vlan is None else struct.pack(">HH", ETHERTYPE_VLAN, vlan)
    frame = (mac_bytes(destination) + mac_bytes(source) + tag + struct.pack(">H", ethertype)
             + payload)
    return frame.ljust(60 + len(tag), b"\0")


def ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_sum(source, destination, protocol, length):
    return ones_sum(source + destination + struct.pack(">II", length, protocol))


def address_bytes(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def udp_segment(source, destination, ports, data):
    """With a whole checksum."""
    length = 8 + len(data)
    head = struct.pack(">HHH", *ports, length)
    total = pseudo_sum(source, destination, UDP, length) + ones_sum(head + b"\0\0" + data)
    return head + struct.pack(">H", ~ones_sum(struct.pack(">I", total)) & 0xFFFF or 0xFFFF) + data


def tcp_segment(source, destination, ports):
    """A SYN."""
    head = struct.pack(">HHIIBBHHH", *ports, 1, 0, 5 << 4, 2, 1000, 0, 0)
    total = pseudo_sum(source, destination, TCP, len(head)) + ones_sum(head)
    check = ~ones_sum(struct.pack(">I", total)) & 0xFFFF
    return head[:16] + struct.pack(">H", check) + head[18:]


def ip_packet(source, destination, protocol, segment):
    """IPv4 or IPv6, as the addresses (bytes) are."""
    if len(source) == 16:
        return (struct.pack(">IHBB", 6 << 28, len(segment), protocol, 64) + source + destination
                + segment)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, protocol, 0)
    check = ~ones_sum(head + source + destination) & 0xFFFF
    return head[:10] + struct.pack(">H", check) + source + destination + segment


def ip_frame(destination_mac, source, destination, protocol, segment):
    ethertype = ETHERTYPE_IPV6 if len(source) == 16 else ETHERTYPE_IPV4
    return ethernet(destination_mac, ip_packet(source, destination, protocol, segment), ethertype)


@dataclass
class Segment:
    """The transport part of a captured frame."""
    source: bytes
    destination: bytes
    protocol: int
    data: bytes  # with its header
    cut: bool    # the capture holds less than all of it

    def checksum_is_right(self):
        total = (pseudo_sum(self.source, self.destination, self.protocol, len(self.data))
                 + ones_sum(self.data))
        return ones_sum(struct.pack(">I", total)) == 0xFFFF

    @property
    def ports(self):
        return struct.unpack_from(">HH", self.data)


def segment_of(frame):
    """The Segment of a Frame, or None if it is not TCP or UDP over IP without extensions."""
    packet = frame.payload
    if frame.ethertype == ETHERTYPE_IPV4:
        start, length = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
        protocol, source, destination = packet[9], packet[12:16], packet[16:20]
    elif frame.ethertype == ETHERTYPE_IPV6:
        start, length = 40, 40 + int.from_bytes(packet[4:6], "big")
        protocol, source, destination = packet[6], packet[8:24], packet[24:40]
    else:
        return None
    if protocol not in (TCP, UDP):
        return None
    return Segment(source, destination, protocol, packet[start:length], len(packet) < length)

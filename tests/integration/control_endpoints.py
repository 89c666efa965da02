# SPDX-License-Identifier: MIT
"""Offloads on and off on NICs whose endpoints have no kernel behind them: loopback, and the NAT network."""

import contextlib
import hashlib
import os

import cases
from control_bed import FORWARDED_PORT

LENGTH = 1 << 20
GATEWAY = "10.0.2.2"
NEAR, FAR = "10.8.0.1", "10.8.0.2"

# ethtool -K; what is not named stays on.
SETTINGS = {
    "all offloads on": {},
    "tso off": {"tso": False},
    "tso and gso off": {"tso": False, "gso": False},
    "tx off": {"tx": False},
    "gro off": {"gro": False},
    "rx-gro-hw off": {"rx-gro-hw": False},
    "rx-gro-hw and gro off": {"rx-gro-hw": False, "gro": False},
    "all off": {"tx": False, "gso": False, "gro": False, "rx-gro-hw": False},
}
ALL_ON = {"tx": True, "gso": True, "tso": True, "gro": True, "rx-gro-hw": True}


def run(test, bed):
    with test.case("loopback: two stations in the guest, each in a network of its own"):
        bed.guest.check("ip link set eth1 up")
        add_station(bed, "near", NEAR)
        add_station(bed, "far", FAR)
        bed.guest.check(f"{inside('far')} httpd -p 80 -h /tmp")
        bed.guest.check(f"{inside('near')} ping -q -c 3 -i 0.1 -W 5 {FAR}")
    for how, settings in SETTINGS.items():
        with test.case(f"loopback, {how}: data come back as they went"), \
                segmentation(bed, "eth1", "loop", settings):
            through_loopback(bed)
    with test.case("NAT network: a lease"):
        bed.guest.check("udhcpc -i eth2 -n -q", 30)
    for how, settings in SETTINGS.items():
        with test.case(f"NAT network, {how}: data both ways are as they were"), \
                segmentation(bed, "eth2", "nat", settings):
            from_host(bed)
            to_host(bed)


@contextlib.contextmanager
def segmentation(bed, interface, nic, settings):
    """Offloads as asked for; NIC and guest must not hand over large frames where that is off."""
    bed.set_offloads(interface, **{**ALL_ON, **settings})
    before = bed.daemon.pair(nic)
    yield
    after = bed.daemon.pair(nic)
    large = {way: after[f"{way}_gso_packets"] - before[f"{way}_gso_packets"] for way in ("tx", "rx")}
    if not settings.get("tso", settings.get("tx", True)):
        cases.expect_equal(large["tx"], 0, "large frames from the guest, tso being off")
    if not settings.get("rx-gro-hw", True):
        cases.expect_equal(large["rx"], 0, "large frames to the guest, rx-gro-hw being off")
    if not settings:
        cases.expect(large["tx"] > 0 and large["rx"] > 0, f"large frames: {large}")


def inside(station):
    return f"nsenter --net=/tmp/{station}.net"


def add_station(bed, name, address):
    """An interface on eth1 with its own MAC, in its own network: what it sends goes out of eth1 and
    comes back in before the other sees it."""
    bed.guest.check(f"touch /tmp/{name}.net; unshare --net=/tmp/{name}.net true; "
                    f"ip link add link eth1 name {name} type macvlan")
    bed.guest.check(f"nsenter --net=/tmp/{name}.net sleep 86400 >/dev/null 2>&1 & "
                    "while [ $(readlink /proc/$!/ns/net) = $(readlink /proc/self/ns/net) ]; "
                    f"do usleep 10000; done; ip link set {name} netns $!")
    bed.guest.check(f"{inside(name)} ip link set lo up; "
                    f"{inside(name)} ip address add {address}/24 dev {name}; "
                    f"{inside(name)} ip link set {name} up")


def through_loopback(bed):
    wanted = bed.guest.check(f"head -c {LENGTH} /dev/urandom >/tmp/up; sha256sum </tmp/up")
    got = bed.guest.check(f"{inside('near')} wget -q -O - http://{FAR}/up | sha256sum", 60)
    cases.expect_equal(got, wanted, "checksum of what came through")


def from_host(bed):
    """The guest reaches the host's 127.0.0.1 as its gateway."""
    data = os.urandom(LENGTH)
    with bed.offer("127.0.0.1", data) as port:
        got = bed.guest.check(f"nc {GATEWAY} {port} </dev/null | sha256sum", 60)
    cases.expect_equal(got.split()[0], hashlib.sha256(data).hexdigest(), "checksum in the guest")


def to_host(bed):
    """Through the forwarded port."""
    wanted = bed.guest.check(f"head -c {LENGTH} /dev/urandom >/tmp/up; sha256sum </tmp/up")
    body = bed.fetch("127.0.0.1", FORWARDED_PORT)
    cases.expect_equal(hashlib.sha256(body).hexdigest(), wanted.split()[0],
                       f"checksum of {len(body)} bytes on the host")

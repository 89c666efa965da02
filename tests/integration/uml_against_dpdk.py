# SPDX-License-Identifier: MIT
"""The same UML guest on vionic and on DPDK's vhost, both on a tap, in turns: who moves TCP faster?

    VIONIC=build/src/daemon/vionic python3 tests/integration/uml_against_dpdk.py [ROUNDS]

Prints Gbit/s and their ratios. It is no part of `make check`: speed is for release builds. DPDK's
vhost offers a control queue that it does not serve, which UML waits for without end, so a small
proxy hides that and a few more features from the guest.
"""

import array
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import threading

import cases
import traffic
from daemon import Daemon, Folder, die_with_parent, wait_for_socket
from guest import UmlGuest
from network import Network

MAC = "52:54:00:00:00:07"
TAP = "tap0"
SECONDS = 3
GET_FEATURES = 1
HEADER_BYTES = 12
# CTRL_VQ and all that is commanded through it; MTU, which the guest would give up half-way; and packed
# rings, which UML starts from a state that DPDK does not take.
HIDDEN_FEATURES = 0xEE000C | 1 << 34
ROUNDS = 5


class FeatureProxy:
    """Passes vhost-user messages on, and takes features out of what the back-end offers."""

    def __init__(self, front_path, back_path, hidden_features):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(front_path)
        self._listener.listen()
        self._back_path = back_path
        self._hidden = hidden_features
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        front = self._listener.accept()[0]
        back = socket.socket(socket.AF_UNIX)
        back.connect(self._back_path)
        for source, sink in ((front, back), (back, front)):
            threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source, sink):
        with contextlib.suppress(OSError):
            while True:
                header, fds = receive(source, HEADER_BYTES)
                request, flags, size = array.array("I", header)
                payload = receive(source, size)[0] if size else b""
                if request == GET_FEATURES and flags & 4:
                    features = int.from_bytes(payload, "little") & ~self._hidden
                    payload = features.to_bytes(8, "little")
                socket.send_fds(sink, [header + payload], fds)
                for fd in fds:
                    os.close(fd)
        sink.close()


def receive(source, length):
    data, fds = b"", []
    while len(data) < length:
        piece, more_fds, _, _ = socket.recv_fds(source, length - len(data), 16)
        if not piece:
            raise OSError("the other side is gone")
        data += piece
        fds += more_fds
    return data, fds


@contextlib.contextmanager
def vionic(folder, network, path):
    nic = f"socket={path},mac={MAC},endpoint=tap:ifname={TAP}"
    with Daemon(folder, [nic], network):
        wait_for_socket(path)
        yield


@contextlib.contextmanager
def dpdk(folder, network, path):
    back = folder / "dpdk.sock"
    command = ["dpdk-testpmd", "--lcores", "0@0,1@0", "--no-pci", "--no-telemetry", "--no-huge",
               "-m", "192", "--file-prefix", f"vionic-{os.getpid()}",
               "--vdev", f"net_vhost0,iface={back},queues=1", "--vdev", f"net_tap0,iface={TAP}",
               "--", "-i", "--nb-cores=1", "--forward-mode=io", "--auto-start",
               "--no-lsc-interrupt", "--disable-link-check", "--total-num-mbufs=8192"]
    process = network.popen(*command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
    try:
        wait_for_socket(back)
        FeatureProxy(path, back, HIDDEN_FEATURES)
        yield
    finally:
        process.kill()
        process.wait()


def measure(back_end):
    """Gbit/s from the guest and to the guest."""
    with Network() as network, Folder() as folder:
        path = folder / "nic.sock"
        with back_end(folder, network, path):
            network.bring_up(TAP, f"{traffic.HOST}/24")
            with UmlGuest([path]) as guest, traffic.iperf_server(network):
                traffic.set_address(guest)
                cases.eventually(lambda: traffic.answers(guest), 20, "a ping is answered")
                return [traffic.iperf(guest, way, SECONDS)["bits_per_second"] / 1e9
                        for way in ("", "-R")]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    results = {"vionic": [], "dpdk": []}
    for index in range(rounds):
        for name, back_end in (("vionic", vionic), ("dpdk", dpdk)):
            results[name].append(measure(back_end))
            print(f"round {index + 1} {name:7}" +
                  "".join(f"{rate:8.2f}" for rate in results[name][-1]), flush=True)
    print("median, Gbit/s        vionic    DPDK   ratio")
    for way, name in enumerate(("from the guest", "to the guest")):
        ours, theirs = (statistics.median(result[way] for result in results[who])
                        for who in ("vionic", "dpdk"))
        print(f"{name:20}{ours:8.2f}{theirs:8.2f}{ours / theirs:8.2f}")


if __name__ == "__main__":
    main()

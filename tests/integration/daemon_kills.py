# SPDX-License-Identifier: MIT
"""The daemon is killed again and again under the checked transfers of a QEMU guest.

    daemon_kills.py split|packed [connecting]

"connecting": QEMU listens and the daemon connects to it, which takes it 200 ms at most.
"""

import hashlib
import os
import random
import re
import subprocess
import sys
import threading
import time

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import QemuGuest
from network import Network, need

MAC = "52:54:00:00:00:07"
TAP = "tap0"
KILLS = 4  # in each transfer
RESUME = 20  # seconds at most
MORE_THAN_A_RING = 700
MEGABYTES = 16


def main(test):
    packed = "packed" in sys.argv
    connecting = "connecting" in sys.argv
    with Network() as network, Folder() as folder:
        socket = folder / "nic.sock"
        network.add_tap(TAP)
        network.bring_up(TAP, f"{traffic.HOST}/24")
        mode = "mode=client," if connecting else ""
        nic = f"name=n,socket={socket},{mode}mac={MAC},endpoint=tap:ifname={TAP}"
        card = {"socket": f"{socket},server=on,wait=off" if connecting else socket, "mac": MAC,
                "reconnect": 0 if connecting else 1, "properties": "packed=on" if packed else ""}
        with Daemon(folder, [nic], network) as daemon:
            if not connecting:
                wait_for_socket(socket)
            with QemuGuest([card]) as guest:
                kills(test, guest, network, folder, daemon, packed)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


def kills(test, guest, network, folder, daemon, packed):
    with test.case("the guest has its network"):
        traffic.set_address(guest)
        traffic.ping(guest)
        ring = daemon.pair("n")["tx_ring"]
        cases.expect_equal(ring["format"], "packed" if packed else "split", "format")
    with test.case(f"killed {KILLS} times in the midst of an upload: the checksum is right"):
        guest.check(f"dd if=/dev/urandom of=/tmp/up bs=1M count={MEGABYTES} 2>/dev/null", 60)
        kill_during(daemon, upload, guest, network, folder)
        cases.expect_equal(sum_of(folder / "upload"), sum_in_guest(guest, "/tmp/up"), "checksum")
        guest.check("rm /tmp/up")
    with test.case(f"killed {KILLS} times in the midst of a download: the checksum is right"):
        with open(folder / "data", "wb") as file:
            file.write(os.urandom(MEGABYTES << 20))
        kill_during(daemon, download, guest, network, folder)
        cases.expect_equal(sum_in_guest(guest, "/tmp/down"), sum_of(folder / "data"), "checksum")
    with test.case("frames move again soon after a restart"):
        guest.check(f"ping -q -i 0.02 {traffic.HOST} >/dev/null 2>&1 &")
        print("# seconds from the new daemon's answer to the guest's frames:",
              ", ".join(f"{resume_time(daemon):.2f}" for _ in range(4)), flush=True)
        guest.check("killall ping")
        cases.eventually(lambda: traffic.answers(guest), RESUME, "a ping is answered")
    with test.case("every buffer is still in its ring: more frames than it holds, each answered"):
        traffic.ping(guest, count=MORE_THAN_A_RING, interval=0.005)
    with test.case("the driver was not reset"):
        rings = [daemon.pair("n")[name] for name in ("rx_ring", "tx_ring")]
        cases.expect(all(ring["records_refused"] == 0 for ring in rings), rings)
        cases.expect(not packed or all(ring["taken_up"] == 1 for ring in rings), rings)


# QEMU speaks of its lost connection on the guest's console, into the answer to whatever is asked.


def upload(guest, network, folder):
    with open(folder / "upload", "wb") as file, \
            traffic.running(network, "busybox", "nc", "-l", "-p", str(traffic.UPLOAD_PORT),
                            stdout=file, stdin=subprocess.PIPE) as sink:
        traffic.wait_for_port(network, traffic.UPLOAD_PORT)
        guest.check(f"nc {traffic.HOST} {traffic.UPLOAD_PORT} </tmp/up", 90)
        sink.wait(60)


def download(guest, network, folder):
    with traffic.running(network, "python3", "-m", "http.server", str(traffic.WEB_PORT),
                         "--directory", folder.path):
        traffic.wait_for_port(network, traffic.WEB_PORT)
        guest.check(f"wget -q -O /tmp/down http://{traffic.HOST}:{traffic.WEB_PORT}/data", 90)


def sum_in_guest(guest, path):
    return re.search(r"\b[0-9a-f]{64}\b", guest.check(f"sha256sum {path}", 60)).group()


def sum_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def resume_time(daemon):
    daemon.kill()
    daemon.start()
    begin = time.monotonic()
    cases.eventually(lambda: daemon.pair("n")["rx_packets"] > 0, RESUME, "frames move again", 0.01)
    return time.monotonic() - begin


class Transfer(threading.Thread):
    """A transfer while the test's main thread kills: a child goes with the thread that began it."""

    def __init__(self, transfer, *arguments):
        super().__init__()
        self._transfer = (transfer, arguments)
        self._problem = None
        self.start()

    def run(self):
        transfer, arguments = self._transfer
        try:
            transfer(*arguments)
        except Exception as problem:  # pylint: disable=broad-except
            self._problem = problem

    def finish(self):
        self.join()
        if self._problem:
            raise self._problem


def kill_during(daemon, transfer, *arguments):
    running = Transfer(transfer, *arguments)
    for _ in range(KILLS):
        time.sleep(random.uniform(0.05, 0.4))
        daemon.kill()
        daemon.start()
        cases.eventually(lambda: daemon.pair("n")["tx_packets"] > 0, RESUME, "frames move again",
                         0.02)
    running.finish()


if __name__ == "__main__":
    need()
    cases.run(main)

# SPDX-License-Identifier: MIT
"""Two guests on one switch: ping and a file between them, and out of the uplink, which is a tap of the host."""

import cases
import traffic
from daemon import Daemon, Folder, wait_for_socket
from guest import UmlGuest
from network import Network, need

NICS = {"a": "52:54:00:00:00:0a", "b": "52:54:00:00:00:0b"}
SECOND = "10.9.0.3"
MEGABYTES = 8
PORT = 9000


def main(test):
    with Network() as network, Folder() as folder:
        sockets = {name: folder / f"{name}.sock" for name in NICS}
        specs = [f"name={name},socket={sockets[name]},mac={mac},endpoint=switch:name=lan0"
                 for name, mac in NICS.items()]
        arguments = ["--workers", "2", "--switch", "name=lan0,uplink=tap:ifname=up0"]
        with Daemon(folder, specs, network, arguments) as daemon:
            for socket in sockets.values():
                wait_for_socket(socket)
            network.run("ip", "address", "add", f"{traffic.HOST}/24", "dev", "up0")
            with UmlGuest([sockets["a"]]) as first, UmlGuest([sockets["b"]]) as second:
                traffic.set_address(first)
                traffic.set_address(second, address=SECOND)
                use(test, first, second, network, folder)
                with test.case("nothing was spoofed, nothing went where it should not"):
                    lan = daemon.inspect("switch:lan0")
                    cases.expect(lan["forwarded"] > 1000 and lan["addresses_known"] == 3, lan)
                    cases.expect(lan["dropped_bad_source"] == 0 and lan["late"] == 0, lan)
            with test.case("the daemon ends with status 0 on SIGTERM"):
                daemon.stop()


def use(test, first, second, network, folder):
    with test.case("the guests reach each other and the host"):
        traffic.ping(first, SECOND)
        traffic.ping(second, traffic.GUEST, size=1400)
        traffic.ping(first)
        traffic.ping(second)
    with test.case("a file from guest to guest, byte for byte"):
        sent = first.check(f"dd if=/dev/urandom of=/tmp/file bs=1M count={MEGABYTES} 2>/dev/null; sha256sum /tmp/file")
        second.start(f"nc -l -p {PORT} -e sh -c 'cat >/tmp/file'; sha256sum /tmp/file")
        first.check(f"for i in 1 2 3 4 5 6 7 8 9; do nc {SECOND} {PORT} </tmp/file && break; sleep 1; done", 90)
        got = second.finish(timeout=90)[1]
        cases.expect(sent.split()[0] in got, f"{sent} is not {got}")
    with test.case("a file out of the uplink, and one in"):
        traffic.upload(first, network, folder)
        traffic.download(second, network, folder)


if __name__ == "__main__":
    need()
    cases.run(main)

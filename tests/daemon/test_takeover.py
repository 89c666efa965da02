# SPDX-License-Identifier: MIT
"""Upgrade in place, as the operator and the service manager see it: what is refused and why, what becomes of
sockets and ports, and that a reload never looks like an end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

from harness import (Daemon, Place, PATIENCE, VIONIC, cases_of, check_refused, expect, run, run_cases)

GROUP = 64322  # nobody's


def nic(place, number=0, options="endpoint=null"):
    return ["--nic", f"name=n{number},socket={place.at(f'{number}.sock')},{options}"]


def front_end(place, number=0):
    """A front-end that has connected and says nothing more."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(place.at(f"{number}.sock"))
    return client


def wait_connected(vionic, name="n0"):
    until = time.monotonic() + PATIENCE
    while not vionic.ask({"command": "inspect", "path": f"{name}/vhost_user"})["result"]["connected"]:
        expect(time.monotonic() < until, f"{name} has no front-end")
        time.sleep(0.02)


def try_takeover(vionic, *arguments, **options):
    return run("run", "--control", vionic.control, "--takeover", *arguments, **options)


class Taken(Daemon):
    """A daemon that takes over from another one of the harness, which is seen to end well."""

    def __init__(self, place, before, *arguments, **options):
        super().__init__(place, "--takeover", *arguments, **options)
        self.before = before
        self.log_path = place.at("next.log")

    def __enter__(self):
        super().__enter__()
        expect(self.before.process.wait(PATIENCE) == 0, self.before.log())
        return self


def test_the_cards_go_over_and_the_sockets_stay():
    with Place() as place, Daemon(place, *nic(place), *nic(place, 1)) as first:
        with front_end(place):
            wait_connected(first)
            with Taken(place, first, *nic(place), *nic(place, 1)) as second:
                second.check_answers()
                wait_connected(second)
                with front_end(place, 1):
                    wait_connected(second, "n1")
                expect(re.search(r"took over 2 NICs; queues stood still for \d+\.\d+ ms", second.log()),
                       second.log())
                second.check_idle()
        left = [name for name in os.listdir(place.path) if name.endswith(".sock")]
        expect(left == [], f"left behind: {left}")


def test_cards_come_and_go_with_it():
    """What the new configuration does not name is closed, what is new is opened."""
    with Place() as place, Daemon(place, *nic(place), *nic(place, 1)) as first:
        with front_end(place, 1) as lonely:
            wait_connected(first, "n1")
            with Taken(place, first, *nic(place), *nic(place, 2)) as second:
                tree = second.ask({"command": "inspect"})["result"]
                expect([name for name in tree if name.startswith("n")] == ["n2", "n0"], list(tree))
                lonely.settimeout(PATIENCE)
                expect(lonely.recv(1) == b"", "the session of a card that is gone goes on")
                expect(not os.path.exists(place.at("1.sock")), "its socket was left behind")
                expect(os.path.exists(place.at("2.sock")), "the new card has no socket")


def test_what_the_guest_has_agreed_to_can_not_change():
    mine = "queues=2,mac=52:54:00:00:00:01"
    with Place() as place, Daemon(place, *nic(place, 0, f"{mine},endpoint=null")) as vionic:
        with front_end(place):
            wait_connected(vionic)
            for options, words in (
                    ("queues=1,mac=52:54:00:00:00:01,endpoint=null", ("n0 can't be taken over", "2 queue pairs", "has 1")),
                    ("queues=2,mac=52:54:00:00:00:77,endpoint=null",
                     ("n0 can't be taken over", "mac=52:54:00:00:00:77", "shut the guest down")),
                    (f"{mine},mode=client,endpoint=null", ("n0 can't be taken over", "mode="))):
                check_refused(try_takeover(vionic, *nic(place, 0, options), "--log-level", "error"), 2,
                              *words)
            moved = ["--nic", f"name=n0,socket={place.at('moved')},{mine},endpoint=null"]
            check_refused(try_takeover(vionic, *moved, "--log-level", "error"), 2, "n0",
                          place.at("0.sock"), place.at("moved"))
            vionic.check_answers()
            wait_connected(vionic)
            expect(vionic.log().count("going on") == 4, vionic.log())


def test_without_a_front_end_everything_may_change():
    with Place() as place, Daemon(place, *nic(place)) as first:
        options = "queues=4,mac=52:54:00:00:00:77,endpoint=loopback"
        with Taken(place, first, *nic(place, 0, options)) as second:
            card = second.ask({"command": "inspect", "path": "n0"})["result"]
            expect(len(card["queues"]) == 4 and card["mac_address"] == "52:54:00:00:00:77", card)


def test_a_new_card_that_can_not_be_opened():
    with Place() as place, Daemon(place, *nic(place)) as vionic:
        place.write("1.sock", "precious")
        done = try_takeover(vionic, *nic(place), *nic(place, 1), "--log-level", "error")
        check_refused(done, 1, place.at("1.sock"), "no socket")
        vionic.check_answers()


def test_nobody_to_take_over_from():
    with Place() as place:
        done = run("run", "--control", place.at("control.sock"), "--takeover", *nic(place))
        check_refused(done, 1, "no vionic daemon answers", place.at("control.sock"))
        expect(os.listdir(place.path) == [], os.listdir(place.path))


def test_only_its_own_user_may():
    """A member of the group that may ask is not one who may take the guests' memory."""
    if os.geteuid() != 0:
        return
    with Place() as place, Daemon(place, *nic(place), "--control-group", str(GROUP)) as vionic:
        os.chmod(place.path, 0o777)
        done = try_takeover(vionic, *nic(place), "--log-level", "error", user=65534, group=GROUP)
        check_refused(done, 1, "only the daemon's own user")
        vionic.check_answers()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_forwarded_port_is_never_lost():
    """hostfwd= of `user`: by a takeover that fails, and by one that does not."""
    port = free_port()
    with Place() as place:
        user = nic(place, 0, f"endpoint=user:hostfwd=tcp:127.0.0.1:{port}-:22")
        with Daemon(place, *user, *nic(place, 1)) as first, front_end(place), front_end(place, 1):
            wait_connected(first, "n1")
            expect(accepts(port), "the port is not open")
            other = nic(place, 1, "mac=52:54:00:00:00:77,endpoint=null")
            check_refused(try_takeover(first, *user, *other, "--log-level", "error"), 2, "n1")
            expect(accepts(port), "the port was lost by a takeover that failed")
            with Taken(place, first, *user, *nic(place, 1)) as second:
                expect(accepts(port), "the port was lost by the takeover")
                second.check_answers()


class Manager:
    """A service manager's end of NOTIFY_SOCKET."""

    def __init__(self, place):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(place.at("notify"))
        self.socket.settimeout(PATIENCE)
        self.env = {"NOTIFY_SOCKET": place.at("notify")}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def hear(self, wanted):
        """All words up to the one that has `wanted`."""
        said = []
        while not said or wanted not in said[-1]:
            said.append(self.socket.recv(4096).decode().split("\n"))
        return said


def test_systemctl_reload():
    """ExecReload returns when the new daemon runs; the manager hears of its number before the old one ends, and
    never that anything stops. The watchdog is the new one's, though only the old one was told of it."""
    with Place() as place, Manager(place) as manager:
        env = {**manager.env, "WATCHDOG_USEC": "1000000"}
        first = Daemon(place, *nic(place), env=env).__enter__()
        manager.hear("READY=1")
        command = [VIONIC, "run", "--control", first.control, "--takeover", "--background", *nic(place)]
        with front_end(place), open(place.at("reload.log"), "wb") as log:
            wait_connected(first)
            done = subprocess.run(command, stdout=log, stderr=log, env={**os.environ, **manager.env},
                                  stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
            expect(done.returncode == 0, f"status {done.returncode}")
            number = first.ask({"command": "ping"})["result"]["pid"]
            try:
                expect(number != first.process.pid, "the old daemon answers")
                said = manager.hear("READY=1")
                expect(f"MAINPID={number}" in said[-1], said)
                expect(first.process.wait(PATIENCE) == 0, first.log())
                wait_connected(first)
                said += manager.hear("WATCHDOG=1") + manager.hear("WATCHDOG=1")
                expect(not any("STOPPING=1" in words for words in said), said)
            finally:
                os.kill(number, signal.SIGTERM)
            manager.hear("STOPPING=1")
        until = time.monotonic() + PATIENCE
        while os.path.exists(first.control) and time.monotonic() < until:
            time.sleep(0.02)
        expect(not os.path.exists(first.control), "the control socket was left behind")


def test_a_reload_that_fails_says_so():
    with Place() as place, Daemon(place, *nic(place)) as vionic:
        place.write("1.sock", "precious")
        done = try_takeover(vionic, "--background", *nic(place), *nic(place, 1), "--log-level", "error")
        check_refused(done, 1, place.at("1.sock"))
        vionic.check_answers()


def test_it_starts_in_the_background():
    with Place() as place, open(place.at("log"), "wb") as log:
        control = place.at("control.sock")
        command = [VIONIC, "run", "--control", control, "--background", *nic(place)]
        done = subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                              timeout=PATIENCE, check=False)
        expect(done.returncode == 0, f"status {done.returncode}")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(control)
            client.sendall(b'{"command":"ping"}\n')
            number = json.loads(client.recv(4096))["result"]["pid"]
        os.kill(number, signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        while os.path.exists(control):
            expect(time.monotonic() < until, "it does not end")
            time.sleep(0.02)


run_cases(cases_of(sys.modules[__name__]))

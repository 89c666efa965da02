# SPDX-License-Identifier: MIT
"""`vionic set` against a running daemon without a guest: what it does, what it says no to, and why."""

import json
import os
import socket
import sys

from harness import Daemon, Place, cases_of, check_refused, expect, run, run_cases

MAC = "52:54:00:00:00:01"


def daemon(place, options="endpoint=loopback"):
    return Daemon(place, "--nic", f"name=front,mac={MAC},socket={place.at('0.sock')},{options}",
                  "--nic", f"socket={place.at('1.sock')},{options}")


def vionic_set(vionic, *arguments):
    return run("set", "--control", vionic.control, *arguments)


def check_done(vionic, *arguments):
    done = vionic_set(vionic, *arguments)
    expect((done.returncode, done.stdout, done.stderr) == (0, b"", b""), done)


def nic(vionic, name="front"):
    tree = vionic.ask({"command": "inspect", "path": name})["result"]
    del tree["queues"]  # workers use time by being asked
    return tree


def test_each_setting_shows_in_inspect():
    rows = [("link=down", "link", "down"), ("link=up", "link", "up"), ("mtu=9000", "mtu", 9000),
            ("mtu=68", "mtu", 68), ("mtu=65535", "mtu", 65535), ("speed=10000", "speed_mbps", 10000),
            ("speed=2147483647", "speed_mbps", 2147483647), ("duplex=half", "duplex", "half"),
            ("duplex=full", "duplex", "full"), ("mac=52:54:00:aa:bb:cc", "mac_address", "52:54:00:aa:bb:cc"),
            ("mac=52-54-00-AA-BB-CD", "mac_address", "52:54:00:aa:bb:cd")]
    with Place() as place, daemon(place) as vionic:
        other = nic(vionic, "nic0")
        for assignment, name, value in rows:
            check_done(vionic, f"front.{assignment}")
            expect(nic(vionic)[name] == value, (assignment, nic(vionic)[name]))
        check_done(vionic, "front.speed=unknown")
        expect("speed_mbps" not in nic(vionic), "an unknown speed is not shown")
        expect(nic(vionic, "nic0") == other, "the other NIC changed too")


def test_several_in_one_go_and_the_json_of_it():
    with Place() as place, daemon(place) as vionic:
        done = vionic_set(vionic, "--json", "front.link=down", "nic0.mtu=1400", "nic0.speed=100")
        expect(done.returncode == 0 and done.stderr == b"", done)
        expect(json.loads(done.stdout) == {"front.link": "down", "nic0.mtu": "1400", "nic0.speed": "100"}, done)
        expect((nic(vionic)["link"], nic(vionic, "nic0")["link"]) == ("down", "up"), "link")
        expect((nic(vionic, "nic0")["mtu"], nic(vionic, "nic0")["speed_mbps"]) == (1400, 100), "nic0")
        answer = vionic.ask({"command": "set", "values": {"front.mtu": 2000, "front.link": "up"}})
        expect(answer == {"ok": True, "result": {"front.mtu": 2000, "front.link": "up"}}, answer)
        expect((nic(vionic)["mtu"], nic(vionic)["link"]) == (2000, "up"), nic(vionic))


def test_an_mtu_is_offered_once_it_is_set():
    with Place() as place, daemon(place) as vionic:
        expect("mtu" not in nic(vionic)["offered_features"].split(), "no MTU at first")
        check_done(vionic, "front.mtu=1500")
        expect("mtu" in nic(vionic)["offered_features"].split(), nic(vionic)["offered_features"])


def test_wrong_command_lines():
    rows = [([], ["is missing", "nic0.link=down"]), (["front"], ["NIC.SETTING=VALUE", "front"]),
            (["front=1"], ["names no setting", "nic0.link"]), ([".link=up"], ["names no setting"]),
            (["front.lnik=up"], ["lnik", "did you mean link?"]),
            (["front.colour=red"], ["known are link", "announce"]),
            (["front.link=up", "front.link=down"], ["front.link", "given twice"]),
            (["front.link=\udcff"], ["UTF-8"]), (["--jsn", "front.link=up"], ["did you mean --json?"])]
    for arguments, words in rows:
        check_refused(run("set", "--control", "/nonexistent", *arguments), 2, *words)


def test_files_of_the_daemon_are_no_endpoint():
    """A member of --control-group would put the control socket, or another card's session, behind a card."""
    with Place() as place:
        ours, theirs = socket.socketpair()
        os.set_inheritable(theirs.fileno(), True)
        passed = theirs.fileno()
        with ours, theirs, Daemon(place, "--nic", f"name=front,socket={place.at('0.sock')},endpoint=loopback",
                                  "--sandbox-allow", "stream", pass_fds=[passed]) as vionic:
            for fd in [fd for fd in range(3, 40) if fd != passed]:
                done = vionic_set(vionic, f"front.endpoint=stream:fd={fd}")
                expect(done.returncode == 1, done)
                expect(b"own; name one" in done.stderr or b"no open stream socket" in done.stderr, done)
            check_done(vionic, f"front.endpoint=stream:fd={passed}")
            expect(nic(vionic)["endpoint_type"] == "stream", nic(vionic))


def test_refused_values_say_what_to_write():
    rows = [("link=sideways", ['"sideways"', "up or down"]), ("link=", ["up or down"]),
            ("mtu=67", ["68 to 65535"]), ("mtu=65536", ["68 to 65535"]), ("mtu=-1500", ["68 to 65535"]),
            ("mtu=1500x", ["68 to 65535"]), ("mtu=99999999999999999999", ["68 to 65535"]),
            ("speed=0", ["unknown"]), ("speed=2147483648", ["2147483647"]), ("duplex=both", ["half or full"]),
            ("mac=52:54:00:00:00", ["52:54:00:12:34:56"]), ("mac=00:00:00:00:00:00", ["zeros"]),
            ("mac=53:54:00:00:00:01", ["multicast"]), ("announce=later", ["now"]),
            ("announce=now", ["no driver is at work"]), ("link=" + "x" * 500, ["short string"]),
            ("link=\x1b[31m", ["?[31m"])]
    with Place() as place, daemon(place) as vionic:
        before = nic(vionic)
        for assignment, words in rows:
            check_refused(vionic_set(vionic, f"front.{assignment}"), 1, "front.", *words)
            expect(nic(vionic) == before, assignment)


def test_a_wrong_name_changes_nothing_and_a_refusal_tells_what_was_done():
    with Place() as place, daemon(place) as vionic:
        check_refused(vionic_set(vionic, "fornt.link=down"), 1, '"fornt"', "did you mean front?")
        check_refused(vionic_set(vionic, "eth7.link=down"), 1, '"eth7"', "known are front, nic0")
        answer = vionic.ask({"command": "set", "values": {"front.link": "down", "front.lnk": "up"}})
        expect("did you mean link?" in answer["error"] and nic(vionic)["link"] == "up", answer)
        check_refused(vionic_set(vionic, "front.link=down", "front.speed=100", "front.mtu=1"), 1,
                      "front.mtu", "done before it: front.link, front.speed")
        expect(nic(vionic)["link"] == "down", nic(vionic)["link"])


def test_wrong_requests():
    rows = [({}, ["values"]), ({"values": {}}, ["values"]), ({"values": [1]}, ["values"]),
            ({"values": {"front.link": {}}}, ["front.link", "an object"]),
            ({"values": {"front.mtu": 1.5}}, ["front.mtu"]), ({"values": {"front.mtu": -3}}, ["68"]),
            ({"values": {"front.link": "up"}, "path": "x"}, ["path", "unknown key"]),
            ({"values": {"": "up"}}, ["names no setting"]), ({"values": {"a" * 9000 + ".link": "up"}}, ["no NIC"])]
    with Place() as place, daemon(place) as vionic:
        for request, words in rows:
            answer = vionic.ask(dict(request, command="set"))
            expect(answer["ok"] is False, answer)
            for word in words:
                expect(word in answer["error"], f"{word!r} is not in {answer['error']!r}")


def test_help_lists_every_setting():
    for arguments in (["set", "--help"], ["help", "set"]):
        text = run(*arguments).stdout.decode()
        for word in ("link=up|down", "speed=", "duplex=half|full", "mtu=", "mac=MAC", "announce=now"):
            expect(word in text, f"{word} is not in {text}")


run_cases(cases_of(sys.modules[__name__]))

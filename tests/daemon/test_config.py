# SPDX-License-Identifier: MIT
"""Configuration files: good ones run, wrong or hostile ones get status 2 and one sentence."""

import json
import os
import threading

from harness import Daemon, Place, check_refused, expect, run, run_cases

NIC = '{"socket": "/tmp/vionic-never.sock", "endpoint": "null"}'


def nics(text):
    return '{"nics": [' + text + "]}"


def nic_with(extra):
    return nics('{"socket": "/tmp/vionic-never.sock", "endpoint": "null", ' + extra + "}")


def endpoint(text):
    return nics('{"socket": "/tmp/vionic-never.sock", "endpoint": ' + text + "}")


# What the file holds, then what the sentence must hold beside the file's name.
REFUSED = [
    ("empty", "", ["line 1", "mend the JSON"]),
    ("no JSON", "socket = /tmp/x\n", ["line 1", "mend the JSON"]),
    ("a comma too many", '{\n "workers": 1,\n}\n', ["line 3", "mend the JSON"]),
    ("cut off", '{"nics": [', ["line 1", "mend the JSON"]),
    ("text after the end", "{} {}", ["line 1", "mend the JSON"]),
    ("an array", "[]", ["object", '"nics"', "an array"]),
    ("a string", '"user"', ["mend the JSON"]),
    ("a key twice", '{"workers": 1,\n "workers": 2}', ["line 2", "workers", "mend the JSON"]),
    ("a NUL byte", b'{"workers":\0 1}', ["line 1", "mend the JSON"]),
    ("an escaped NUL", '{"control": "/tmp/\\u0000x"}', ["line 1", "mend the JSON"]),
    ("invalid UTF-8", b'{"control": "/tmp/\xff\xfe"}', ["line 1", "mend the JSON"]),
    ("binary", bytes(range(256)) * 16, ["line", "mend the JSON"]),
    ("deeply nested arrays", "[" * 100000, ["line 1", "mend the JSON"]),
    ("deeply nested objects", '{"nics":' * 100000, ["line 1", "mend the JSON"]),
    ("nested in an option", endpoint('{"kind": "null", "x": ' + "[" * 1000 + "]" * 1000 + "}"),
     ["x", "an array"]),
    ("a huge number", '{"workers": 99999999999999999999999}', ["line 1", "integer"]),
    ("a huge file", '{"control": "' + "x" * (1 << 20) + '"}', ["larger than 1048576"]),
    ("a huge key", '{"' + "k" * 900000 + '": 1}', ["unknown key", "known are control"]),
    ("unknown key", '{"worker": 1}', ["worker", "did you mean workers?"]),
    ("unknown NIC key", nic_with('"soket": 1'), ["nics[0].soket", "did you mean socket?"]),
    ("unknown key far off", '{"zebra": 1}', ["zebra", "known are control, control-group, sandbox, sandbox-allow, user, workers, cpus, poll, poll-budget, nics"]),
    ("workers as text", '{"workers": "2"}', ["workers", "1 to 64", '"2"']),
    ("workers as a fraction", '{"workers": 1.5}', ["workers", "1 to 64", "1.5"]),
    ("workers null", '{"workers": null}', ["workers", "1 to 64", "null"]),
    ("workers negative", '{"workers": -1}', ["workers", "1 to 64", "-1"]),
    ("poll true", '{"poll": true}', ["poll", "0 to 1000000", "true"]),
    ("poll of no such kind", '{"poll": "sometimes"}', ["poll", "adaptive", "always", "sometimes"]),
    ("no budget", '{"poll": "adaptive", "poll-budget": 0}', ["poll-budget", "1 to 100"]),
    ("control a number", '{"control": 5}', ["control", "string", "5"]),
    ("control too long", '{"control": "/' + "c" * 200 + '"}', ["control", "201 bytes", "shorter"]),
    ("control characters", '{"control": "/tmp/\\u001b[31m"}', ["control", "?[31m", "control characters"]),
    ("nics an object", '{"nics": {}}', ["nics", "array", "an object"]),
    ("nics of numbers", nics("7"), ["nics[0]", "socket", "7"]),
    ("no nics", nics(""), ["no NIC", "--nic"]),
    ("the second NIC", nics(NIC + ', {"endpoint": "null"}'), ["nics[1].socket", "missing"]),
    ("socket a number", nics('{"socket": 1, "endpoint": "null"}'), ["nics[0].socket", "string"]),
    ("no endpoint", nics('{"socket": "/tmp/a"}'), ["nics[0].endpoint", "missing", "endpoint=user"]),
    ("mtu out of range", nic_with('"mtu": 70000'), ["nics[0].mtu", "68 to 65535", "70000"]),
    ("mac a number", nic_with('"mac": 5'), ["nics[0].mac", "string", "5"]),
    ("mac multicast", nic_with('"mac": "01:00:5e:00:00:01"'), ["nics[0].mac", "multicast"]),
    ("mode unknown", nic_with('"mode": "both"'), ["nics[0].mode", "server", "client", "both"]),
    ("name empty", nic_with('"name": ""'), ["nics[0].name", "not empty"]),
    ("same names", nics(NIC[:-1] + ', "name": "a"}, {"socket": "/tmp/b", "endpoint": "null", "name": "a"}'),
     ["nics[", '"a"', "another NIC"]),
    ("same sockets", nics(NIC + "," + NIC), ["nics[1].socket", "another NIC"]),
    ("too many NICs", nics(",".join(f'{{"socket":"/tmp/{i}","endpoint":"null"}}' for i in range(1025))),
     ["nics[1024]", "1024"]),
    ("endpoint a number", endpoint("5"), ["nics[0].endpoint", "kind", "5"]),
    ("endpoint without kind", endpoint("{}"), ["nics[0].endpoint", '"kind"', "missing"]),
    ("endpoint with a kind that is no text", endpoint('{"kind": 1}'), ["nics[0].endpoint", '"kind"']),
    ("endpoint unknown", endpoint('{"kind": "usr2"}'), ["nics[0].endpoint", '"usr2"']),
    ("endpoint text unknown", endpoint('"loopbak"'), ["nics[0].endpoint", "did you mean loopback?"]),
    ("option an object", endpoint('{"kind": "null", "x": {}}'), ["endpoint: x", "an object"]),
    ("option null", endpoint('{"kind": "null", "x": null}'), ["endpoint: x", "null"]),
    ("option with a fraction", endpoint('{"kind": "null", "x": 1.5}'), ["endpoint: x", "1.5"]),
    ("option with an odd name", endpoint('{"kind": "null", "a,b": "1"}'), ['"a,b"', "plain word"]),
    ("options too many", endpoint('{"kind": "null", "x": [' + ",".join("1" * 65) + "]}"), ["x", "64"]),
    ("unknown option", endpoint('{"kind": "null", "colour": "red"}'), ["nics[0]: ", "colour"]),
]


def refused(name, content, words):
    def case():
        with Place() as place:
            path = place.write("vm.json", content)
            control = place.at("control.sock")
            done = run("run", "--config", path, "--control", control)
            # The whole set of NICs has no file to be named by, but that of the option.
            named = [] if words[0] == "no NIC" else ["vm.json"]
            check_refused(done, 2, *named, *words)
            expect(not os.path.exists(control), "the control socket was left behind")
    return ("refused: " + name, case)


def unreadable():
    with Place() as place:
        check_refused(run("run", "--config", place.at("absent.json")), 2, "absent.json", "No such file",
                      "JSON file")
        check_refused(run("run", "--config", place.path), 2, place.path, "directory", "JSON file")
        check_refused(run("run", "--config", ""), 2, "No such file", "JSON file")
    check_refused(run("run", "--config", "/dev/zero"), 2, "/dev/zero", "larger than")
    check_refused(run("run", "--config", "/dev/null"), 2, "/dev/null", "mend the JSON")


def good_file():
    """Every key, in both forms of an endpoint; the NICs carry what the file says."""
    with Place() as place:
        config = {
            "workers": 2, "poll": 50,
            "nics": [
                {"name": "front", "socket": place.at("0.sock"), "mac": "52-54-00-AA-bb-01",
                 "mtu": 9000, "queues": 2, "queue-size": 256, "speed": 10000, "mode": "server",
                 "endpoint": {"kind": "null"}},
                {"socket": place.at("1.sock"), "mac": "52:54:00:00:00:02", "endpoint": "loopback"},
                {"socket": place.at("2.sock"), "mode": "client", "endpoint": "null"},
            ]}
        path = place.write("vm.json", json.dumps(config, indent=2))
        with Daemon(place, "--config", path) as daemon:
            tree = daemon.ask({"command": "inspect"})["result"]
            expect(tree["front"]["mac_address"] == "52:54:00:aa:bb:01", tree["front"])
            expect(tree["nic0"]["mac_address"] == "52:54:00:00:00:02", tree["nic0"])
            log = daemon.log()
            expect(f"front: listening at {place.at('0.sock')}, endpoint null, mac 52:54:00:aa:bb:01\n"
                   in log, log)
            expect(f"nic1: connecting to {place.at('2.sock')}, endpoint null, mac " in log, log)
            expect(os.path.exists(place.at("0.sock")), "nobody listens")


def file_and_command_line():
    """--control overrules the file's; NICs of both are run; names skip what is taken."""
    with Place() as place:
        config = {"control": place.at("unused.sock"), "nics": [
            {"name": "nic0", "socket": place.at("0.sock"), "endpoint": "null"}]}
        path = place.write("vm.json", json.dumps(config))
        with Daemon(place, "--config", path, "--nic",
                    f"socket={place.at('1.sock')},endpoint=null") as daemon:
            tree = daemon.ask({"command": "inspect"})["result"]
            expect({"nic0", "nic1"} <= set(tree), tree)
            expect(not os.path.exists(place.at("unused.sock")), "the file's control path was used")


def from_a_pipe():
    """--config <(generator)"""
    with Place() as place:
        read_end, write_end = os.pipe()
        config = json.dumps({"nics": [{"socket": place.at("0.sock"), "endpoint": "null"}]}).encode()

        def feed():
            os.write(write_end, config)
            os.close(write_end)

        thread = threading.Thread(target=feed)
        thread.start()
        with Daemon(place, "--config", f"/dev/fd/{read_end}", pass_fds=[read_end]) as daemon:
            daemon.check_answers()
        thread.join()
        os.close(read_end)


def chosen_mac():
    """A NIC without a MAC keeps the one it got, for the same socket on the same machine."""
    def macs(place):
        arguments = []
        for i in range(2):
            arguments += ["--nic", f"socket={place.at(f'{i}.sock')},endpoint=null"]
        with Daemon(place, *arguments) as daemon:
            tree = daemon.ask({"command": "inspect"})["result"]
            return [tree[f"nic{i}"]["mac_address"] for i in range(2)]

    with Place() as place:
        first, second = macs(place), macs(place)
    for mac in first:
        expect(int(mac[:2], 16) & 3 == 2, f"{mac} is not local and unicast")
    expect(first[0] != first[1], f"both have {first[0]}")
    machine_id = os.path.exists("/etc/machine-id") and os.path.getsize("/etc/machine-id") >= 32
    expect(first == second or not machine_id, f"{first}, then {second}")


run_cases([refused(*row) for row in REFUSED] + [
    ("files that can't be read", unreadable),
    ("a file with every key", good_file),
    ("file and command line together", file_and_command_line),
    ("a file that is a pipe", from_a_pipe),
    ("a MAC address that stays", chosen_mac),
])

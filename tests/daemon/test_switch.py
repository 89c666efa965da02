# SPDX-License-Identifier: MIT
"""Switches as an operator meets them: by option and by file, in inspect, doctor and top, with hundreds of ports."""

import json
import sys

from harness import Daemon, Place, cases_of, check_refused, expect, run, run_cases

NICS = 300
GOOD = "socket=/tmp/vionic-never.sock,endpoint=null"

REFUSED = [
    ("", ["--switch", "key=value"]),
    ("ageing=5", ["name", "missing", "name=lan0"]),
    ("name=lan0,agein=5", ["agein", "did you mean ageing?"]),
    ("name=lan0,ageing=0", ["ageing", "1 to 1000000", "not 0"]),
    ("name=lan0,queues=129", ["queues", "1 to 128"]),
    ("name=lan/0", ["lan/0", "letters, digits"]),
    ("name=lan0,uplink=tpa", ['"tpa"', "did you mean tap?"]),
    ("name=lan0,uplink=switch:name=lan1", ["lan0", "can't be the uplink"]),
    ("name=lan0,uplink=loopback:colour=blue", ["lan0", "'colour'"]),
]


def inspect(vionic, *path):
    done = run("inspect", "--json", "--control", vionic.control, *path)
    expect(done.returncode == 0, done)
    return json.loads(done.stdout)


def test_wrong_words():
    for spec, words in REFUSED:
        check_refused(run("run", "--switch", spec, "--nic", GOOD), 2, *words)
    check_refused(run("run", "--switch", "name=a", "--switch", "name=a", "--nic", GOOD), 2, '"a"', "taken")
    for endpoint, words in [("switch", ["name=", "missing", "switch:name=lan0"]),
                            ("switch:name=lan0,full=maybe", ["full=maybe", "full=drop"]),
                            ("switch:name=lan0,isolated=yes", ["isolated=yes", "isolated=on"]),
                            ("switch:name=lan 0", ["lan 0", "letters, digits"])]:
        check_refused(run("run", "--nic", f"socket=/tmp/vionic-never.sock,endpoint={endpoint}"), 2, *words)


def test_hundreds_of_ports_and_an_uplink_from_a_file():
    with Place() as place:
        nics = [{"socket": place.at(f"{i}.sock"), "endpoint": {"kind": "switch", "name": "lan0"}} for i in range(NICS)]
        config = place.write("vionic.json", json.dumps(
            {"workers": 2, "switches": [{"name": "lan0", "ageing": 20, "uplink": "null"}], "nics": nics}))
        with Daemon(place, "--config", config) as vionic:
            tree = inspect(vionic)
            lan = tree["switch:lan0"]
            expect(lan["ports_used"] == NICS + 1 and lan["ageing_s"] == 20, lan)
            expect(lan["addresses_known"] == NICS and len(lan["addresses"]) <= 64, "all are known, not all are shown")
            expect(tree["uplink:lan0"]["endpoint_type"] == "null", tree["uplink:lan0"])
            expect(inspect(vionic, "switch:lan0/ports/0/nic") == "uplink", "the uplink was there first")
            expect(inspect(vionic, "nic299/endpoint/switch") == "lan0", "a port says whose it is")
            for command in ("doctor", "top"):
                done = run(command, "--control", vionic.control, *(["--count", "1"] if command == "top" else []))
                expect(b"switch:lan0" not in done.stdout, done.stdout.decode())
            vionic.check_idle()


def test_a_switch_comes_and_goes_with_its_ports():
    with Place() as place:
        with Daemon(place, "--nic", f"socket={place.at('0.sock')},endpoint=switch:name=lan0") as vionic:
            expect("switch:lan0" in inspect(vionic), "it is there with its port")
            for endpoint, there in [("null", False), ("switch:name=lan0", True), ("switch:name=lan0,isolated=on", True),
                                    ("switch:name=lan1", False)]:
                done = run("set", "--control", vionic.control, f"nic0.endpoint={endpoint}")
                expect(done.returncode == 0, done)
                tree = inspect(vionic)
                expect(("switch:lan0" in tree) == there, f"{endpoint}: {list(tree)}")
            expect(tree["switch:lan1"]["addresses_known"] == 1, "the card's own address is known")


if __name__ == "__main__":
    sys.exit(run_cases(cases_of(sys.modules[__name__])))

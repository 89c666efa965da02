# SPDX-License-Identifier: MIT
"""Workers: the CPUs that they are pinned to, and which queue pairs go to which."""

import collections
import json
import os
import sys

from harness import Daemon, Place, cases_of, check_refused, expect, run, run_cases

CPUS = sorted(os.sched_getaffinity(0))


def nic(place, name, options=""):
    return ["--nic", f"name={name},socket={place.at(name + '.sock')},{options}endpoint=loopback"]


def threads(vionic):
    """The CPUs that each thread may run on, by name."""
    folder = f"/proc/{vionic.process.pid}/task"
    found = {}
    for tid in os.listdir(folder):
        with open(f"{folder}/{tid}/comm", encoding="ascii") as comm:
            found[comm.read().strip()] = sorted(os.sched_getaffinity(int(tid)))
    return found


def workers_of(vionic, name):
    """The worker of each pair."""
    queues = vionic.ask({"command": "inspect", "path": name + "/queues"})["result"]
    return [queue["worker"]["index"] for queue in queues.values()]


def pairs_by_worker(vionic):
    tree = vionic.ask({"command": "inspect"})["result"]
    workers = [queue["worker"] for one in tree.values() for queue in one["queues"].values()]
    counts = collections.Counter(worker["index"] for worker in workers)
    for worker in workers:
        expect(worker["pairs"] == counts[worker["index"]], (worker, counts))
    return counts


def test_each_worker_is_pinned_to_its_cpu():
    listed = [CPUS[-1], CPUS[0]]
    with Place() as place:
        with Daemon(place, "--workers", "3", "--cpus", f"{listed[0]},{listed[1]}",
                    *nic(place, "a", "queues=3,")) as vionic:
            found = threads(vionic)
            for i in range(3):
                expect(found[f"worker{i}"] == [listed[i % 2]], found)
            expect(found["vionic"] == CPUS, "the control thread stays free")
            queues = vionic.ask({"command": "inspect", "path": "a/queues"})["result"]
            for queue in queues.values():
                worker = queue["worker"]
                expect(worker["cpu"] == listed[worker["index"] % 2], worker)


def test_nothing_is_pinned_unless_asked():
    with Place() as place, Daemon(place, "--workers", "2", *nic(place, "a")) as vionic:
        expect(all(cpus == CPUS for cpus in threads(vionic).values()), threads(vionic))
        queues = vionic.ask({"command": "inspect", "path": "a/queues"})["result"]
        expect("cpu" not in queues["0"]["worker"], queues["0"]["worker"])


def test_cpus_of_the_configuration_file():
    with Place() as place:
        path = place.write("v.json", json.dumps({
            "workers": 2, "cpus": f"{CPUS[0]}-{CPUS[0]}",
            "nics": [{"name": "a", "socket": place.at("a.sock"), "queues": 4, "workers": 1, "endpoint": "null"},
                     {"name": "b", "socket": place.at("b.sock"), "queues": 6, "workers": "0,1", "endpoint": "null"}]}))
        with Daemon(place, "--config", path) as vionic:
            expect(threads(vionic)["worker1"] == [CPUS[0]], threads(vionic))
            expect(len(set(workers_of(vionic, "a"))) == 1, workers_of(vionic, "a"))
            expect(set(workers_of(vionic, "b")) == {0, 1}, workers_of(vionic, "b"))
        with Daemon(place, "--config", path, "--cpus", str(CPUS[-1])) as vionic:
            expect(threads(vionic)["worker0"] == [CPUS[-1]], "the command line overrules the file")


def test_cpus_that_can_not_be():
    with Place() as place:
        rows = [(text, ["no list of CPUs", "0-1,4"]) for text in ("x", "0-", "-1", "1-0", "0,", "0x1", "0 1", ",0",
                                                                  "0--1", "99999999999999999999", "0-2000")]
        rows += [("4000", ["CPU 4000", "choose from"]), ("1023", ["CPU 1023"]), ("", ["cpus", "not empty"])]
        for text, words in rows:
            check_refused(run("run", "--control", place.at("c"), f"--cpus={text}", *nic(place, "a")), 2, *words)
        # Only what this process may use, as within a container.
        done = run("run", "--control", place.at("c"), "--cpus", str(CPUS[-1] + 1), *nic(place, "a"),
                   preexec_fn=lambda: os.sched_setaffinity(0, [CPUS[0]]))
        check_refused(done, 2, f"CPU {CPUS[-1] + 1}", f"choose from {CPUS[0]}\n")


def test_pairs_are_spread_evenly():
    with Place() as place:
        arguments = ["--workers", "3"]
        for i, queues in enumerate([2, 1, 5, 1, 3]):
            arguments += nic(place, f"n{i}", f"queues={queues},")
        with Daemon(place, *arguments) as vionic:
            expect(sorted(pairs_by_worker(vionic).values()) == [4, 4, 4], pairs_by_worker(vionic))
            expect(len(set(workers_of(vionic, "n0"))) == 2, "pairs of one card on workers of their own")
            expect(len(set(workers_of(vionic, "n4"))) == 3, workers_of(vionic, "n4"))


def test_a_card_that_is_tied_to_workers():
    with Place() as place:
        arguments = ["--workers", "4", *nic(place, "listed", "queues=6,workers=0+2-3,"),
                     *nic(place, "alone", "queues=3,workers=1-1,"), *nic(place, "two", "queues=4,workers=2,"),
                     *nic(place, "all", "queues=1,")]
        with Daemon(place, *arguments) as vionic:
            expect(sorted(workers_of(vionic, "listed")) == [0, 0, 2, 2, 3, 3], workers_of(vionic, "listed"))
            expect(workers_of(vionic, "alone") == [1, 1, 1], workers_of(vionic, "alone"))
            two = collections.Counter(workers_of(vionic, "two"))
            expect(sorted(two.values()) == [2, 2] and 1 not in two, "the two that had the fewest")
            pairs_by_worker(vionic)


def test_workers_that_can_not_be():
    rows = [("workers=0,", ["1 to 2 here, not 0"]), ("workers=3,", ["1 to 2 here", "3-3"]),
            ("workers=0-2,", ["no worker 2", "0 to 1"]), ("workers=2-2,", ["no worker 2"]),
            ("workers=all,", ["neither a count nor a list"]), ("workers=1-0,", ["neither"]),
            ("workers=0-0-0,", ["neither"]), ("workers=,", ["workers"]), ("workers=0+,", ["neither"])]
    with Place() as place:
        for options, words in rows:
            check_refused(run("run", "--control", place.at("c"), "--workers", "2", *nic(place, "a", options)), 2,
                          *words)


def test_busy_time_grows_only_with_work():
    with Place() as place:
        with Daemon(place, "--nic", f"name=a,socket={place.at('a.sock')},endpoint=loopback") as vionic:
            first = vionic.ask({"command": "inspect", "path": "a/queues/0/worker"})["result"]["busy_ns"]
            vionic.check_idle()
            second = vionic.ask({"command": "inspect", "path": "a/queues/0/worker"})["result"]["busy_ns"]
            expect(0 <= second - first < 100_000_000, (first, second))


run_cases(cases_of(sys.modules[__name__]))

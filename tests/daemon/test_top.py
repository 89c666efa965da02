# SPDX-License-Identifier: MIT
"""`vionic top` beside a running daemon: into a file, on a terminal, and when there is nothing to watch."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

from harness import Daemon, Place, PATIENCE, VIONIC, cases_of, check_refused, expect, run, run_cases


def daemon(place):
    return Daemon(place, "--workers", "2", "--nic", f"name=front,socket={place.at('0.sock')},queues=2,endpoint=null",
                  "--nic", f"socket={place.at('1.sock')},endpoint=loopback")


def test_tables_follow_each_other_in_a_file():
    with Place() as place, daemon(place) as vionic:
        begun = time.monotonic()
        done = run("top", "--control", vionic.control, "--interval", "0.5", "--count", "3")
        took = time.monotonic() - begun
        expect(done.returncode == 0 and done.stderr == b"", done)
        expect(1.5 <= took < 10, f"three tables half a second apart took {took} s")
        tables = done.stdout.decode().split("\nNIC ")
        expect(len(tables) == 3 and "\033" not in done.stdout.decode(), done.stdout)
        for table in tables:
            lines = [line.split() for line in table.splitlines()]
            expect(["front", "no", "guest", "1/2", "0", "0.0", "0", "0.0", "0"] in lines, table)
            expect(["nic0", "no", "guest", "1/1", "0", "0.0", "0", "0.0", "0"] in lines, table)
            workers = lines[lines.index(["WORKER", "CPU", "PAIRS", "load", "%"]) + 1:]
            expect([row[:2] for row in workers if row] == [["0", "any"], ["1", "any"]], table)
            expect(sum(int(row[2]) for row in workers if row) == 3, table)
            expect(all(int(row[3]) < 20 for row in workers if row), "nothing moves, and a worker is busy")


def read_terminal(master, until, seconds=PATIENCE):
    data = b""
    end = time.monotonic() + seconds
    while not until(data):
        expect(time.monotonic() < end, f"the terminal shows {data!r}")
        if select.select([master], [], [], 0.1)[0]:
            data += os.read(master, 65536)
    return data


def test_a_terminal_is_drawn_anew():
    with Place() as place, daemon(place) as vionic:
        master, slave = pty.openpty()
        top = subprocess.Popen([VIONIC, "top", "--control", vionic.control, "--interval", "0.1"],
                               stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        try:
            data = read_terminal(master, lambda data: data.count(b"\033[H\033[J") >= 3)
            expect(data.startswith(b"\033[H\033[J") and b"front" in data, data)
            top.send_signal(signal.SIGINT)
            expect(top.wait(PATIENCE) == -signal.SIGINT, "Ctrl-C ends it")
        finally:
            top.kill()
            top.wait()
            os.close(master)


def test_it_ends_with_the_daemon():
    with Place() as place, daemon(place) as vionic:
        top = subprocess.Popen([VIONIC, "top", "--control", vionic.control, "--interval", "0.2"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        top.stdout.readline()
        vionic.stop()
        _, errors = top.communicate(timeout=PATIENCE)
        expect(top.returncode == 1 and vionic.control.encode() in errors, errors)


def test_wrong_command_lines():
    rows = [(["--interval", "0"], ["--interval", "0.1 to 3600"]), (["--interval", "x"], ['"x"']),
            (["--interval", "nan"], ["nan"]), (["--interval", "1s"], ["1s"]), (["--count", "0"], ["--count"]),
            (["--count", "-1"], ["--count"]), (["--count", "1000001"], ["1000000"]), (["nic0"], ["too many"])]
    for arguments, words in rows:
        check_refused(run("top", *arguments), 2, *words)
    with Place() as place:
        check_refused(run("top", "--control", place.at("c")), 1, "vionic run")


def test_full_output():
    with Place() as place, daemon(place) as vionic, open("/dev/full", "wb") as full:
        done = subprocess.run([VIONIC, "top", "--control", vionic.control, "--interval", "0.1"], stdout=full,
                              stderr=subprocess.PIPE, timeout=PATIENCE)
        expect(done.returncode == 1 and b"standard output" in done.stderr, done)


run_cases(cases_of(sys.modules[__name__]))

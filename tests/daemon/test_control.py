# SPDX-License-Identifier: MIT
"""Hostile clients of the control socket: the daemon answers the others, lives, and stays idle."""

import contextlib
import json
import os
import random
import resource
import socket
import subprocess
import sys
import time

from harness import (Daemon, Place, PATIENCE, VIONIC, cases_of, check_refused, expect, read_line,
                     run, run_cases)

REQUEST_MAX = 64 * 1024


def daemon(place, nics=1, **options):
    arguments = []
    for i in range(nics):
        arguments += ["--nic", f"socket={place.at(f'{i}.sock')},endpoint=null"]
    return Daemon(place, *arguments, **options)


def answer(client):
    return json.loads(read_line(client))


def check_no(reply, *words):
    expect(reply["ok"] is False and set(reply) == {"ok", "error"}, reply)
    for word in words:
        expect(word in reply["error"], f"{word!r} is not in {reply['error']!r}")


def test_every_command_answers():
    with Place() as place, daemon(place) as vionic:
        with vionic.connect() as client:
            client.sendall(b'{"command":"ping"}\n{"command":"endpoints"}\n\n \r\n'
                           b'{"command":"inspect","path":"nic0/mac_address"}\r\n'
                           b'{"command":"inspect"}\n')
            data = client.makefile("rb")
            ping, endpoints, mac, tree = [json.loads(data.readline()) for _ in range(4)]
        expect(ping["result"]["pid"] == vionic.process.pid and ping["result"]["version"], ping)
        expect({"null", "loopback"} <= {k["kind"] for k in endpoints["result"]}, endpoints)
        expect(tree["result"]["nic0"]["mac_address"] == mac["result"], (tree, mac))


def test_wrong_requests_are_explained():
    rows = [
        (b"rubbish", ["JSON object", "rubbish"]),
        (b"[]", ["JSON object"]),
        (b"7", ["JSON object"]),
        (b"null", ["JSON object"]),
        (b"{", ["JSON object"]),
        (b"{}", ['"command"', "ping"]),
        (b'{"command":5}', ['"command"']),
        (b'{"command":"inspekt"}', ['"inspekt"', "did you mean inspect?"]),
        (b'{"command":"reboot"}', ['"reboot"', "known are inspect, endpoints, ping, set"]),
        (b'{"command":"ping","path":"x"}', ["path", "unknown key"]),
        (b'{"command":"inspect","pth":"x"}', ["pth", "did you mean path?"]),
        (b'{"command":"inspect","path":5}', ["path", "string"]),
        (b'{"command":"inspect","path":"nic7"}', ['"nic7"', "nic0"]),
        (b'{"command":"inspect","path":"nic0/mac_address/x"}', ['"x"', "value"]),
        (b'{"command":"inspect","path":"' + b"a/" * 30000 + b'"}', ['"a"', "nic0"]),
        (b'{"command":"inspect","path":"\xff"}', ["JSON object"]),
        (b'{"command":"ping","command":"ping"}', ["JSON object"]),
        (b'{"command":"ping"} {"command":"ping"}', ["JSON object"]),
        (b"\0\0\0", ["JSON object"]),
        (b"[" * 60000, ["JSON object"]),
        (b'{"a":' * 10000, ["JSON object"]),
    ]
    with Place() as place, daemon(place) as vionic, vionic.connect() as client:
        for request, words in rows:
            client.sendall(request + b"\n")
            check_no(answer(client), *words)
        client.sendall(b'{"command":"ping"}\n')
        expect(answer(client)["ok"], "the connection is not good for more")


def test_partial_lines():
    with Place() as place, daemon(place) as vionic, vionic.connect() as client:
        for byte in b'{"command":"ping"}\n':
            client.sendall(bytes([byte]))
            time.sleep(0.002)
        expect(answer(client)["ok"], "no answer")
        client.sendall(b'{"command":')
        vionic.check_idle()
        vionic.check_answers()
        client.sendall(b'"ping"}\n')
        expect(answer(client)["ok"], "no answer after a pause")


def test_line_of_a_megabyte():
    """Refused once, and the line after it is understood."""
    with Place() as place, daemon(place) as vionic, vionic.connect() as client:
        client.sendall(b"x" * (1 << 20) + b'\n{"command":"ping"}\n')
        data = client.makefile("rb")
        check_no(json.loads(data.readline()), "65536 bytes", "shorter")
        expect(json.loads(data.readline())["ok"], "the next line was lost")
        vionic.check_idle()


def test_longest_line():
    """65535 bytes and the newline are a request; one more is too many."""
    with Place() as place, daemon(place) as vionic, vionic.connect() as client:
        request = b'{"command":"ping"}'
        client.sendall(request + b" " * (REQUEST_MAX - 1 - len(request)) + b"\n")
        expect(answer(client)["ok"], "65536 bytes were refused")
        client.sendall(request + b" " * (REQUEST_MAX - len(request)) + b"\n")
        check_no(answer(client), "65536 bytes")


def test_a_line_without_end():
    """256 MB without a newline are read, thrown away, and cost no memory."""
    with Place() as place, daemon(place) as vionic, vionic.connect() as client:
        before = rss_kib(vionic)
        for _ in range(256):
            client.sendall(b"y" * (1 << 20))
        check_no(answer(client), "65536 bytes")
        expect(rss_kib(vionic) - before < 16 * 1024, f"{before} KiB became {rss_kib(vionic)}")
        vionic.check_answers()


def rss_kib(vionic):
    with open(f"/proc/{vionic.process.pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def test_binary_garbage():
    noise = random.Random(1)
    with Place() as place, daemon(place) as vionic:
        for _ in range(200):
            with vionic.connect() as client:
                rubbish = noise.randbytes(noise.randrange(1, 5000)).replace(b"\n", b"\0")
                client.sendall(b"x" + rubbish + b"\n")
                check_no(answer(client))
        vionic.check_answers()
        vionic.check_idle()


def test_a_thousand_connects():
    """Those beyond the bound are told so; when they are gone, the next is served."""
    with Place() as place, daemon(place) as vionic:
        fds = vionic.fd_count()
        clients, refused = [], 0
        for _ in range(1000):
            client = vionic.connect()
            clients.append(client)
        vionic.check_idle()
        for client in clients:
            client.settimeout(0.0)
            try:
                refused += b"too many clients" in client.recv(4096)
            except BlockingIOError:
                pass
        expect(vionic.fd_count() <= fds + 32, f"{vionic.fd_count()} fds are open")
        expect(refused == 1000 - 32, f"{refused} were refused")
        for client in clients:
            client.close()
        vionic.wait_fd_count(fds)
        vionic.check_answers()


def test_connects_that_leave_at_once():
    with Place() as place, daemon(place) as vionic:
        fds = vionic.fd_count()
        for i in range(1000):
            with vionic.connect() as client:
                if i % 3 == 1:
                    client.sendall(b'{"command":"inspect"}\n')
                if i % 3 == 2:
                    client.sendall(b'{"command":"insp')
        vionic.check_answers()
        vionic.wait_fd_count(fds)
        vionic.check_idle()


def test_slow_reader():
    """A client that asks for much and reads nothing holds nobody up, and gets it all in the end."""
    count = 3000
    with Place() as place, daemon(place, nics=20) as vionic, vionic.connect() as client:
        client.setblocking(False)
        requests = b'{"command":"inspect"}\n' * count
        sent = 0
        until = time.monotonic() + 2
        while sent < len(requests) and time.monotonic() < until:
            try:
                sent += client.send(requests[sent:])
            except BlockingIOError:
                time.sleep(0.02)
        vionic.check_answers()
        vionic.check_idle()
        expect(rss_kib(vionic) < 512 * 1024, f"{rss_kib(vionic)} KiB")
        client.settimeout(PATIENCE)
        whole = sent // len(b'{"command":"inspect"}\n')
        data = client.makefile("rb")
        for _ in range(min(whole, 50)):
            reply = json.loads(data.readline())
            expect(reply["ok"] and "nic19" in reply["result"], "an answer is broken")


def test_half_closed_client():
    """`echo request | socat`: the answer comes after the client has closed its sending side."""
    with Place() as place, daemon(place) as vionic, vionic.connect() as client:
        client.sendall(b'{"command":"ping"}\n{"command":"ping"}\n')
        client.shutdown(socket.SHUT_WR)
        data = client.makefile("rb").read()
        expect(data.count(b'"ok":true') == 2, data)


def test_greedy_client_and_a_polite_one():
    """Thousands of requests in one go take turns with somebody else's one."""
    with Place() as place, daemon(place) as vionic, vionic.connect() as greedy:
        reader = subprocess.Popen(
            [sys.executable, "-c", "import socket,sys\n"
             "c=socket.socket(fileno=int(sys.argv[1]))\n"
             "while c.recv(1<<20): pass\n", str(greedy.fileno())], pass_fds=[greedy.fileno()])
        try:
            greedy.sendall(b'{"command":"inspect"}\n' * 2900)
            for _ in range(10):
                started = time.monotonic()
                vionic.check_answers()
                expect(time.monotonic() - started < 1, "a ping took a second")
        finally:
            greedy.shutdown(socket.SHUT_RDWR)
            reader.wait(PATIENCE)


def test_out_of_file_descriptors():
    """With no fd left to accept with, the daemon waits instead of spinning, and recovers."""
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    with Place() as place, daemon(place, nics=2, preexec_fn=few) as vionic:
        clients = [vionic.connect() for _ in range(50)]
        time.sleep(0.2)
        expect(vionic.fd_count() <= 40, vionic.fd_count())
        if "can't accept" not in vionic.log():
            expect(vionic.fd_count() < 40, "no fd is left and no warning was given")
        vionic.check_idle()
        for client in clients:
            client.close()
        time.sleep(1.5)
        vionic.check_answers()


def test_more_requests_than_a_client_may_have_answered():
    """Some hundred come in one go, the rest at a pace; others are served at once meanwhile."""
    count = 1000
    with Place() as place, daemon(place) as vionic, vionic.connect() as client:
        started = time.monotonic()
        client.sendall(b'{"command":"ping"}\n' * count)
        vionic.check_answers()
        data = client.makefile("rb")
        for _ in range(count):
            expect(json.loads(data.readline())["ok"], "an answer is broken")
        took = time.monotonic() - started
        expect(took > 2, f"{count} answers took {took} s: no pace was kept")
        vionic.check_idle()


def say_as_stranger(path, group=65534, groups=()):
    """What a process of the user `nobody` gets from the socket, or the name of the fault."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups(groups)
        os.setgid(group)
        os.setuid(65534)
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.settimeout(PATIENCE)
                with contextlib.suppress(BrokenPipeError):  # turned away already; the answer is there
                    client.sendall(b'{"command":"ping"}\n')
                said = client.recv(4096)
        except OSError as fault:
            said = type(fault).__name__.encode()
        os.write(write_end, said)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def test_only_owner_and_root():
    """The file is 0600, and even one who gets past that is turned away."""
    with Place() as place, daemon(place) as vionic:
        expect(os.stat(vionic.control).st_mode & 0o777 == 0o600, "the socket's mode is not 0600")
        if os.geteuid() != 0:
            return  # only root can be somebody else
        os.chmod(place.path, 0o755)
        said = say_as_stranger(vionic.control)
        expect(said == b"PermissionError", said)
        os.chmod(vionic.control, 0o666)
        check_no(json.loads(say_as_stranger(vionic.control)), "another user")
        shown = subprocess.run([VIONIC, "inspect", "--control", vionic.control], user=65534,
                               group=65534, capture_output=True)
        expect(shown.returncode == 1 and b"another user" in shown.stderr, shown)


GROUP = 64321  # nobody's


def test_a_group_may_be_let_in():
    """--control-group: 0660, and members only, whether it is their first group or another."""
    if os.geteuid() != 0:
        return
    with Place() as place, Daemon(place, *nic_of(place), "--control-group", str(GROUP)) as vionic:
        os.chmod(place.path, 0o755)
        about = os.stat(vionic.control)
        expect(about.st_mode & 0o777 == 0o660 and about.st_gid == GROUP, about)
        expect(say_as_stranger(vionic.control) == b"PermissionError", "a stranger came in")
        expect(json.loads(say_as_stranger(vionic.control, GROUP))["ok"], "the first group is refused")
        said = say_as_stranger(vionic.control, 65534, [5, GROUP])
        expect(json.loads(said)["ok"], "another of its groups is refused")
        os.chmod(vionic.control, 0o666)
        check_no(json.loads(say_as_stranger(vionic.control)), "another user", "--control-group")


def test_a_member_can_not_take_all_places():
    if os.geteuid() != 0:
        return
    taker = """
import os, socket, sys
os.setgroups([]), os.setgid(int(sys.argv[2])), os.setuid(65534)
clients = [socket.socket(socket.AF_UNIX) for _ in range(40)]
[client.connect(sys.argv[1]) for client in clients]
print(sum(b"too many" in client.recv(4096) for client in clients[8:]), flush=True)
sys.stdin.read()
"""
    with Place() as place, Daemon(place, *nic_of(place), "--control-group", str(GROUP)) as vionic:
        os.chmod(place.path, 0o755)
        member = subprocess.Popen([sys.executable, "-c", taker, vionic.control, str(GROUP)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            refused = int(member.stdout.readline())
            expect(refused == 32, f"{refused} of 40 were refused")
            vionic.check_answers()
        finally:
            member.communicate(timeout=PATIENCE)


def test_a_group_that_is_not_there():
    with Place() as place:
        done = run("run", "--control", place.at("control.sock"), *nic_of(place),
                   "--control-group", "no-such-group")
        check_refused(done, 2, "--control-group", "no-such-group", "getent")


def nic_of(place):
    return ["--nic", f"socket={place.at('0.sock')},endpoint=null"]


run_cases(cases_of(sys.modules[__name__]))

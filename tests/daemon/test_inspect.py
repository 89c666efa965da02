# SPDX-License-Identifier: MIT
"""`vionic inspect` against a running daemon: the same tree as text and as JSON, whole and cut down."""

import json
import os
import socket
import sys
import threading

from harness import Daemon, Place, cases_of, check_refused, expect, run, run_cases

MAC = "52:54:00:00:00:01"


def daemon(place):
    return Daemon(place, "--nic", f"name=front,mac={MAC},socket={place.at('0.sock')},endpoint=null",
                  "--nic", f"socket={place.at('1.sock')},endpoint=loopback")


def inspect(vionic, *arguments):
    return run("inspect", "--control", vionic.control, *arguments)


def shown(vionic, *arguments):
    done = inspect(vionic, *arguments)
    expect(done.returncode == 0 and done.stderr == b"", done)
    return done.stdout.decode()


def text_of(tree, indent=0):
    """The names of the text form, as they follow from the JSON: one line a name, two blanks a level."""
    lines = []
    for name, value in tree.items():
        is_histogram = isinstance(value, dict) and list(value)[-1:] and list(value)[-1].endswith("-")
        lines.append(" " * indent + name + ":")
        if isinstance(value, dict) and not is_histogram:
            lines += text_of(value, indent + 2)
    return lines


def test_text_and_JSON_show_the_same():
    with Place() as place, daemon(place) as vionic:
        tree = json.loads(shown(vionic, "--json"))
        text = shown(vionic)
        expect({"front", "nic0"} <= set(tree), list(tree))
        names = [line[:line.index(":") + 1] for line in text.splitlines()]
        expect(names == text_of(tree), f"{names}\n{text_of(tree)}")
        expect(f"  mac_address: {MAC}\n" in text, text)


def test_paths():
    with Place() as place, daemon(place) as vionic:
        tree = json.loads(shown(vionic, "--json"))
        for path, value in [("front/mac_address", MAC), ("/front/mac_address/", MAC),
                            ("front", tree["front"]["mac_address"])]:
            part = json.loads(shown(vionic, "--json", path))
            expect((part if isinstance(part, str) else part["mac_address"]) == value, part)
        expect(shown(vionic, "front/mac_address") == MAC + "\n", "a value stands alone")
        expect(shown(vionic, "front").startswith("  ") is False, "a part is not indented")
        for path in ("", "/", "///"):
            expect(set(json.loads(shown(vionic, "--json", path))) == set(tree), path)
        queue = json.loads(shown(vionic, "--json", "nic0/queues/0"))
        expect(queue.keys() == tree["nic0"]["queues"]["0"].keys(), queue)


def test_wrong_paths_list_what_is_there():
    with Place() as place, daemon(place) as vionic:
        rows = [("frnt", ['"frnt"', "front, nic0"]),
                ("front/quues", ['"quues"', "is not in front", "did you mean queues?"]),
                ("front/queues/7", ['"7"', "is not in front/queues", "there is 0"]),
                ("front/mac_address/x", ['"x"', "front/mac_address", "a value"]),
                ("\x1b[31m", ["?[31m"])]
        for path, words in rows:
            check_refused(inspect(vionic, path), 1, *words)


def test_no_daemon():
    with Place() as place:
        path = place.at("control.sock")
        check_refused(run("inspect", "--control", path), 1, path, "vionic run", "--control PATH")
        place.write("control.sock", "")
        check_refused(run("inspect", "--control", path), 1, path, "--control PATH")


def check_stranger(reply, words):
    """Something else listens at the path."""
    with Place() as place, socket.socket(socket.AF_UNIX) as listener:
        path = place.at("control.sock")
        listener.bind(path)
        listener.listen(1)

        def serve():
            client = listener.accept()[0]
            with client:
                client.recv(4096)
                client.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        check_refused(run("inspect", "--control", path), 1, *words)
        thread.join()


def test_strangers_at_the_path():
    check_stranger(b"SSH-2.0-OpenSSH\r\n", ["no vionic daemon", "--control PATH"])
    check_stranger(b"", ["broke off"])
    check_stranger(b"{\"ok\":true", ["broke off"])
    check_stranger(b"\xff\xfe\n", ["no vionic daemon"])
    check_stranger(b'{"ok":true}\n', ["no vionic daemon"])


def test_full_output():
    import subprocess
    from harness import VIONIC
    with Place() as place, daemon(place) as vionic, open("/dev/full", "wb") as full:
        for form in ([], ["--json"]):
            done = subprocess.run([VIONIC, "inspect", "--control", vionic.control, *form],
                                  stdout=full, stderr=subprocess.PIPE)
            expect(done.returncode == 1 and b"standard output" in done.stderr, done)



def test_who_can_not_ping_is_told_why():
    """Guests behind `user` ping by sockets that the host may keep from the daemon."""
    if "user" not in run("endpoints").stdout.decode():
        return
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
        can = True
    except PermissionError:
        can = False
    with Place() as place, Daemon(place, "--nic", f"socket={place.at('0.sock')},endpoint=user",
                                  "--nic", f"socket={place.at('1.sock')},endpoint=user") as vionic:
        tree = json.loads(shown(vionic, "--json", "nic0/endpoint"))
        expect(tree["can_ping"] == can, tree)
        expect(vionic.log().count("ping_group_range") == (0 if can else 2), vionic.log())


run_cases(cases_of(sys.modules[__name__]))

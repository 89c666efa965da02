# SPDX-License-Identifier: MIT
"""`vionic doctor`: each thing that can be in the way is found, named, and comes with its mend."""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading

from harness import Daemon, PATIENCE, Place, VIONIC, cases_of, check_refused, expect, read_line, run, run_cases


def doctor(control, status, **options):
    """What it finds, as level, what and mend; the text form has to say the same."""
    done = run("doctor", "--json", "--control", control, **options)
    expect(done.returncode == status and done.stderr == b"", done)
    found = [(one["level"], one["what"], one.get("mend", "")) for one in json.loads(done.stdout)]
    text = run("doctor", "--control", control, **options)
    expect(text.returncode == status and text.stderr == b"", text)
    lines = [f"{level:5} {what}\n" + (f"      -> {mend}\n" if mend else "") for level, what, mend in found]
    expect(text.stdout.decode() == "".join(lines), text.stdout.decode())
    return found


def check_found(found, level, *words):
    expect(any(one[0] == level and all(word in one[1] + " -> " + one[2] for word in words) for one in found),
           f"no {level} with {words} among {found}")


def test_the_host():
    with Place() as place:
        found = doctor(place.at("c"), 0)
        check_found(found, "ok", "vionic ", "user", "tap", "loopback", "null")
        check_found(found, "note", place.at("c"), "vionic run")
        expect(all(level != "bad" for level, _, _ in found), found)


def test_few_files():
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    with Place() as place:
        check_found(doctor(place.at("c"), 0, preexec_fn=few), "note", "256 files", "LimitNOFILE")


def test_what_root_may_with_taps():
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        print("# only root can take these rights away")
        return
    with Place() as place:
        interfaces = os.listdir("/sys/class/net")
        found = doctor(place.at("c"), 0)
        check_found(found, "ok", "endpoint tap may make tap interfaces")
        expect(any("of this kernel take" in what for _, what, _ in found), found)
        expect(os.listdir("/sys/class/net") == interfaces, "the probe left an interface")
        command = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", VIONIC, "doctor", "--control",
                   place.at("c")]
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
        expect(done.returncode == 0 and b"may only attach" in done.stdout and b"ip tuntap add" in done.stdout, done)


def test_a_host_without_tun():
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        print("# only root can hide /dev/net/tun")
        return
    script = "mount -t tmpfs none /dev/net 2>/dev/null; exec \"$0\" doctor --control /nonexistent"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, VIONIC], stdout=subprocess.PIPE, timeout=PATIENCE,
                          check=False)
    expect(done.returncode == 0 and b"/dev/net/tun can't be opened" in done.stdout and b"modprobe tun" in done.stdout,
           done)


def test_a_daemon_without_guests():
    with Place() as place:
        options = ["--nic", f"name=open,socket={place.at('o')},endpoint=null",
                   "--nic", f"name=own,socket={place.at('p')},endpoint=null",
                   "--nic", f"name=caller,socket={place.at('q')},mode=client,endpoint=null"]
        with Daemon(place, *options) as vionic:
            os.chmod(place.at("o"), 0o666)
            os.chmod(place.at("p"), 0o755)
            found = doctor(vionic.control, 0)
            check_found(found, "ok", "a daemon runs", str(vionic.process.pid))
            check_found(found, "ok", "open: waits for a front-end", place.at("o"))
            check_found(found, "note", "own:", "may connect to", place.at("p"), "chown")
            check_found(found, "note", "caller:", "nobody listens", place.at("q"))
            run("set", "--control", vionic.control, "own.link=down")
            os.unlink(place.at("o"))
            found = doctor(vionic.control, 1)
            check_found(found, "bad", "own: its link was taken down", "vionic set own.link=up")
            check_found(found, "bad", "open: its socket", "is gone")


def answer_as(listener, answers):
    for _ in range(6):  # two runs, three questions each
        client = listener.accept()[0]
        with client:
            request = json.loads(read_line(client))
            result = {"mode": "log"} if "path" in request else answers[request["command"]]
            client.sendall(json.dumps({"ok": True, "result": result}).encode() + b"\n")


def doctor_of(tree, status, version="9.9.9"):
    """As if a daemon had this tree."""
    with Place() as place, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place.at("c"))
        listener.listen(4)
        thread = threading.Thread(target=answer_as, daemon=True, args=(
            listener, {"ping": {"version": version, "pid": 7}, "inspect": tree}))
        thread.start()
        found = doctor(place.at("c"), status)
        thread.join(PATIENCE)
        return found


def test_a_sandbox_that_refuses_nothing():
    check_found(doctor_of({}, 0), "note", "sandbox is log", "without --sandbox")


def card(**differences):
    return {"link": "up", "link_wanted": "up", "endpoint_type": "tap", "endpoint_state": "open",
            "vhost_user": {"connected": True},
            "queues": {"0": {"rx_ring": {"state": "running"}, "tx_ring": {"state": "running"}}}, **differences}


def test_what_a_daemon_can_suffer_from():
    broken = {"0": {}, "3": {"rx_ring": {"fault": "a descriptor outside memory"}, "tx_ring": {}}}
    found = doctor_of({"fine": card(), "broken": card(queues=broken), "gone": card(endpoint_state="gone", link="down"),
                       "dark": card(link="down"), "registers": card(vhost_user=None),
                       "odd": card(vhost_user={"connected": True, "last_refusal": "SET_FEATURES: no\n\x1b[31m"})}, 1)
    check_found(found, "note", "process 7", "9.9.9", "start the daemon again")
    check_found(found, "ok", "fine: connected")
    check_found(found, "bad", "broken:", "pair 3", "a descriptor outside memory", "reset the guest's driver")
    check_found(found, "bad", "gone: its endpoint tap went away", "tried again")
    check_found(found, "bad", "dark: the link of its endpoint tap is down", "interface")
    check_found(found, "note", "odd: its front-end asked", "SET_FEATURES: no??[31m")
    expect(sum(level == "bad" for level, _, _ in found) == 3, found)
    expect(all(level != "bad" for level, _, _ in doctor_of({"fine": card()}, 0)), "nothing bad")


def test_answers_that_are_no_tree():
    for tree in ([], "x", 7, {"nic0": 7}, {"nic0": {"queues": [], "vhost_user": 3}}, {}):
        doctor_of(tree, 0)


def test_wrong_command_lines_and_full_output():
    check_refused(run("doctor", "nic0"), 2, "too many")
    check_refused(run("doctor", "--jsn"), 2, "did you mean --json?")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([VIONIC, "doctor", "--control", "/nonexistent"], stdout=full, stderr=subprocess.PIPE,
                              timeout=PATIENCE, check=False)
        expect(done.returncode == 1 and b"standard output" in done.stderr, done)


run_cases(cases_of(sys.modules[__name__]))

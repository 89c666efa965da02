# SPDX-License-Identifier: MIT
"""The daemon's sandbox, from outside: what its threads may do, what code that runs in them can't."""

import json
import os
import pwd
import socket
import subprocess
import sys
import time

from harness import Daemon, PATIENCE, Place, VIONIC, cases_of, check_refused, expect, run, run_cases

BREAKOUT = sys.argv[2]
SANITIZED = sys.argv[3] != "none"
NOBODY = pwd.getpwnam("nobody")
IS_ROOT = os.geteuid() == 0
UNPRIVILEGED = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []} if IS_ROOT else {}

# What the runtimes of sanitizers need for themselves (src/daemon/sandbox_calls.c).
SANITIZERS_MAY = {("control", "fork"), ("control", "ptrace"), ("control", "secret"),
                  ("control", "program"), ("worker", "secret"),
                  ("worker", "program")} if SANITIZED else set()


def nic(place, endpoint="null", name="0"):
    return ["--nic", f"socket={place.at(name + '.sock')},endpoint={endpoint}"]


def threads(vionic):
    """What /proc says of each thread, by name."""
    found = {}
    folder = f"/proc/{vionic.process.pid}/task"
    for tid in os.listdir(folder):
        with open(f"{folder}/{tid}/status", encoding="ascii") as status:
            about = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        is_worker_or_main = about["Name"] != "vionic" or about["Pid"] == about["Tgid"]
        found[about["Name"] if is_worker_or_main else "runtime's"] = about
    return found


def sandbox_of(vionic):
    return vionic.ask({"command": "inspect", "path": "daemon/sandbox"})["result"]


def check_confined(vionic, control_capabilities=0, is_root=IS_ROOT):
    found = threads(vionic)
    expect({"vionic", "worker0", "worker1"} <= set(found), found)
    for name, about in found.items():
        if name == "runtime's" and SANITIZED:  # ThreadSanitizer has a thread of its own
            continue
        expect(about["NoNewPrivs"] == "1" and about["Seccomp"] == "2", (name, about))
        mine = control_capabilities if name == "vionic" else 0
        for kind in ("CapEff", "CapPrm"):
            expect(int(about[kind], 16) == mine, f"{name} has {kind} {about[kind]}")
        expect(int(about["CapInh"], 16) == 0 and int(about["CapAmb"], 16) == 0, about)
        expect(not is_root or int(about["CapBnd"], 16) == 0, f"{name} has CapBnd {about['CapBnd']}")
    state = sandbox_of(vionic)
    expect(state["mode"] == "on" and state["entered"] and state["system_calls"] == "filtered", state)
    expect(state["refused"] == {"control": {}, "worker": {}}, state)


def test_each_thread_is_confined():
    with Place() as place, Daemon(place, "--workers", "2", *nic(place, "user")) as vionic:
        check_confined(vionic)
        expect(sandbox_of(vionic)["capabilities"] == "none", sandbox_of(vionic))
        doctor = run("doctor", "--control", vionic.control)
        expect(b"the daemon is in its sandbox" in doctor.stdout, doctor)


def test_an_ordinary_user_gets_the_same():
    with Place() as place:
        os.chmod(place.path, 0o777)
        with Daemon(place, "--workers", "2", *nic(place, "user"), **UNPRIVILEGED) as vionic:
            check_confined(vionic, is_root=False)


def test_memory_is_hidden():
    """No core dump, and nobody else of the same user may look in."""
    if SANITIZED:
        print("# a leak check has to look in")
        return
    with Place() as place:
        os.chmod(place.path, 0o777)
        with Daemon(place, *nic(place), **UNPRIVILEGED) as vionic:
            peek = subprocess.run(["cat", f"/proc/{vionic.process.pid}/maps"], capture_output=True,
                                  check=False, **UNPRIVILEGED)
            expect(b"denied" in peek.stderr, peek)


def preload(how, place):
    return {"LD_PRELOAD": BREAKOUT, "BREAKOUT": how, "BREAKOUT_FOLDER": place.path,
            "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}


def attempts(vionic):
    """What each thread got for what it tried."""
    for role in ("control", "worker"):
        vionic.wait_for(f"breakout: {role} end worked")
    told = {}
    for line in vionic.log().splitlines():
        if line.startswith("breakout: "):
            role, what = line.split()[1], " ".join(line.split()[2:-1])
            told[role, what] = line.split()[-1]
    return {key: value for key, value in told.items() if key[1] != "end"}


def check_nothing_worked(place, **options):
    precious = place.write("../vionic-precious", "")
    os.chmod(place.path, 0o777)
    try:
        with Daemon(place, *nic(place), env=preload("all", place), **options) as vionic:
            vionic.may_refuse = True
            told = attempts(vionic)
            expect(len(told) > 50, told)
            for (role, what), outcome in told.items():
                if (role, what) not in SANITIZERS_MAY:
                    expect(outcome in ("EPERM", "EACCES"), f"{role}: {what}: {outcome}")
            vionic.check_answers()
            refused = sandbox_of(vionic)["refused"]
            for role in ("control", "worker"):
                expect({"execve", "personality", "io_uring_setup", "mount"} <= set(refused[role]), refused)
                vionic.wait_for(f"sandbox: refused execve to a {role} thread")
            doctor = run("doctor", "--control", vionic.control)
            expect(b"sandbox refused the daemon" in doctor.stdout, doctor)
            expect(vionic.log().count("refused execve to") == 2, "it is said more than once")
        expect(os.path.exists(precious), "a file outside its folders was removed")
        expect(not os.path.lexists("/tmp/vionic-breakout"), "a file was made")
    finally:
        os.unlink(precious)


def test_code_in_it_gets_nowhere():
    with Place() as place:
        check_nothing_worked(place)


def test_code_in_it_gets_nowhere_as_an_ordinary_user():
    with Place() as place:
        check_nothing_worked(place, **UNPRIVILEGED)


def test_log_lets_pass_and_says_so():
    with Place() as place, Daemon(place, *nic(place), "--sandbox", "log",
                                  env=preload("quiet", place)) as vionic:
        told = attempts(vionic)
        expect(told["control", "personality"] == told["worker", "personality"] == "worked", told)
        for role in ("control", "worker"):
            vionic.wait_for(f"sandbox: personality of a {role} thread would be refused")
        noted = sandbox_of(vionic)["noted"]
        expect(noted["worker"]["personality"] == noted["control"]["keyctl"] == 1, noted)


def test_off_is_off_and_said_so():
    with Place() as place, Daemon(place, *nic(place), "--sandbox=off") as vionic:
        expect(threads(vionic)["vionic"]["Seccomp"] == "0", threads(vionic))
        expect("warning: the sandbox is off" in vionic.log(), vionic.log())
        expect(sandbox_of(vionic)["mode"] == "off", sandbox_of(vionic))
        expect(b"sandbox is off" in run("doctor", "--control", vionic.control).stdout, "doctor")


def test_the_file_may_say_so():
    with Place() as place:
        path = place.write("vm.json", json.dumps({
            "sandbox": "off",
            "nics": [{"socket": place.at("0.sock"), "endpoint": "null"}]}))
        with Daemon(place, "--config", path) as vionic:
            expect(sandbox_of(vionic)["mode"] == "off", sandbox_of(vionic))


def test_wrong_words():
    with Place() as place:
        control = ["run", "--control", place.at("c"), *nic(place)]
        check_refused(run(*control, "--sandbox=maybe"), 2, "sandbox", "maybe", "log")
        check_refused(run(*control, "--sandbox-allow=router"), 2, "--sandbox-allow", "router", "tap")
        check_refused(run(*control, "--user=no-such-user"), 2, "--user", "no-such-user", "getent")
        check_refused(run(*control, "--user=nobody", "--sandbox=off"), 2, "--user", "--sandbox")
        check_refused(run("run", "--nic", f"name=daemon,socket={place.at('s')},endpoint=null"), 2,
                      "daemon", "choose another")


def test_what_can_be_set_later():
    """An endpoint that was not planned for is refused with the option that allows it."""
    def check(vionic, endpoint, *words):
        answer = vionic.ask({"command": "set", "values": {"nic0.endpoint": endpoint}})
        expect(answer["ok"] == (not words), answer)
        expect(all(word in answer.get("error", "") for word in words), answer)

    with Place() as place, Daemon(place, *nic(place)) as vionic:
        for kind in ("user", "tap:ifname=v0", "stream:path=/tmp/x"):
            check(vionic, kind, f"--sandbox-allow {kind.split(':')[0]}")
        check(vionic, "loopback")
    with Place() as place, Place() as other:
        with Daemon(place, *nic(place), "--sandbox-allow", "user,tap,stream") as vionic:
            check(vionic, "user")
            check(vionic, f"stream:mode=server,path={place.at('peer')}")
            check(vionic, f"stream:mode=server,path={other.at('peer')}", "--sandbox-allow", "folder")
            check(vionic, "tap:ifname=v0,netns=there", "--sandbox-allow netns")
        with Daemon(place, *nic(place), "--sandbox-allow", f"stream,{other.path}") as vionic:
            check(vionic, f"stream:mode=server,path={other.at('peer')}")
            expect(os.path.exists(other.at("peer")), "no socket was made")


def test_another_user():
    """--user: its sockets and threads are that user's, and its folder need not be."""
    if not IS_ROOT:
        return
    with Place() as place:
        os.chmod(place.path, 0o755)
        with Daemon(place, "--workers", "2", "--user", "nobody", *nic(place)) as vionic:
            check_confined(vionic)
            ids = str(NOBODY.pw_uid)
            for about in threads(vionic).values():
                expect(set(about["Uid"].split()) == {ids}, about)
                expect(about["Gid"].split()[0] == str(NOBODY.pw_gid), about)
            for path in (vionic.control, place.at("0.sock")):
                expect(os.stat(path).st_uid == NOBODY.pw_uid, path)
            shown = subprocess.run([VIONIC, "inspect", "--control", vionic.control],
                                   capture_output=True, check=False, **UNPRIVILEGED)
            expect(shown.returncode == 0, shown)


NET_ADMIN, SYS_ADMIN = 1 << 12, 1 << 21


class TapDaemon(Daemon):
    """In a network namespace of its own, from which `ip netns` shows another one."""

    ALONE = "mount -t tmpfs run /run && ip netns add there && exec \"$@\""

    def __init__(self, place, *arguments):
        super().__init__(place, *arguments)
        self.command = ["unshare", "--net", "--mount", "sh", "-c", self.ALONE, "sh", *self.command]

    def ip(self, *words):
        subprocess.run(["nsenter", "--net", "--mount", "-t", str(self.process.pid), "ip", *words],
                       check=True, timeout=PATIENCE, capture_output=True)

    def wait_endpoint(self, state):
        until = time.monotonic() + PATIENCE
        while self.ask({"command": "inspect", "path": "nic0/endpoint_state"})["result"] != state:
            expect(time.monotonic() < until, f"the endpoint never became {state}")
            time.sleep(0.05)


def check_tap_comes_back(spec, where, capabilities, names):
    if not IS_ROOT or not os.path.exists("/dev/net/tun"):
        return
    with Place() as place, TapDaemon(place, "--workers", "2", *nic(place, spec)) as vionic:
        check_confined(vionic, control_capabilities=capabilities)
        expect(sandbox_of(vionic)["capabilities"] == names, sandbox_of(vionic))
        for _ in range(2):
            vionic.ip(*where, "link", "del", "v0")
            vionic.wait_endpoint("gone")
            vionic.wait_endpoint("open")
            vionic.ip(*where, "link", "show", "v0")
        check_confined(vionic, control_capabilities=capabilities)


def test_a_tap_comes_back():
    """The one capability that this takes is kept, by the control thread alone."""
    check_tap_comes_back("tap:ifname=v0", [], NET_ADMIN, "net_admin")


def test_a_tap_of_another_namespace_comes_back():
    check_tap_comes_back("tap:ifname=v0,netns=there", ["-n", "there"], NET_ADMIN | SYS_ADMIN,
                         "net_admin sys_admin")


def test_every_kind_starts_and_ends():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kinds = ["null", "loopback", "user", f"user:hostfwd=tcp:127.0.0.1:{port}-:22",
             f"stream:mode=server,address=127.0.0.1:{port + 1}"]
    with Place() as place:
        specs = [word for i, kind in enumerate(kinds) for word in nic(place, kind, str(i))]
        specs += nic(place, f"stream:mode=server,path={place.at('peer')}", "server")
        specs += nic(place, f"stream:path={place.at('nobody')}", "client")
        with Daemon(place, "--workers", "2", *specs) as vionic:
            time.sleep(0.5)  # a client tries again meanwhile
            expect(sandbox_of(vionic)["refused"] == {"control": {}, "worker": {}}, sandbox_of(vionic))
        expect(not [name for name in os.listdir(place.path) if name.endswith(".sock")], "left behind")


run_cases(cases_of(sys.modules[__name__]))

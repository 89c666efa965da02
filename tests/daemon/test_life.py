# SPDX-License-Identifier: MIT
"""From start to end: signals, socket files, the service manager, the journal."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time

from harness import (Daemon, Place, PATIENCE, VIONIC, cases_of, check_refused, expect, run, run_cases,
                     without_build_notes)


def nic(place, number=0):
    return ["--nic", f"socket={place.at(f'{number}.sock')},endpoint=null"]


def check_clean_end(number, **options):
    with Place() as place, Daemon(place, *nic(place), *nic(place, 1), **options) as vionic:
        expect(os.path.exists(place.at("0.sock")) and os.path.exists(vionic.control), "no sockets")
        with vionic.connect():
            status = vionic.stop(number)
        expect(status == 0, f"status {status}: {vionic.log()}")
        left = [name for name in os.listdir(place.path) if name.endswith(".sock")]
        expect(left == [], f"left behind: {left}")
        expect(signal.Signals(number).name in vionic.log(), vionic.log())


def test_SIGTERM_ends_it_cleanly():
    check_clean_end(signal.SIGTERM)


def test_SIGINT_ends_it_cleanly():
    check_clean_end(signal.SIGINT)


def test_SIGHUP_ends_it_cleanly_unless_nohup():
    def takes(what):
        return lambda: signal.signal(signal.SIGHUP, what)

    # These tests may run under nohup themselves.
    check_clean_end(signal.SIGHUP, preexec_fn=takes(signal.SIG_DFL))
    with Place() as place, Daemon(place, *nic(place), preexec_fn=takes(signal.SIG_IGN)) as vionic:
        vionic.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        vionic.check_answers()


def test_it_rests():
    with Place() as place, Daemon(place, *nic(place)) as vionic:
        vionic.check_idle()


def test_front_ends_that_come_and_go_do_not_fill_the_log():
    with Place() as place, Daemon(place, *nic(place)) as vionic:
        for _ in range(200):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(place.at("0.sock"))
        until = time.monotonic() + PATIENCE
        while vionic.ask({"command": "inspect", "path": "nic0/vhost_user"})["result"]["sessions"] < 200:
            expect(time.monotonic() < until, "not all of them came in")
            time.sleep(0.05)
        lines = vionic.log().count("front-end")
        expect(0 < lines < 100, f"{lines} lines about 200 sessions")


def test_a_front_end_that_finds_no_files_left_waits():
    with Place() as place, Daemon(place, *nic(place)) as vionic:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.prlimit(vionic.process.pid, resource.RLIMIT_NOFILE, (3, hard))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(place.at("0.sock"))
            vionic.check_idle()
            resource.prlimit(vionic.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
            until = time.monotonic() + PATIENCE
            while not vionic.ask({"command": "inspect", "path": "nic0/vhost_user"})["result"]["connected"]:
                expect(time.monotonic() < until, "it was not let in afterwards")
                time.sleep(0.05)


def test_it_may_open_as_many_files_as_the_system_allows():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))

    with Place() as place, Daemon(place, *nic(place), preexec_fn=few) as vionic:
        soft = resource.prlimit(vionic.process.pid, resource.RLIMIT_NOFILE)[0]
        expect(soft == hard, f"{soft} files of {hard}")


def test_SIGPIPE_is_ignored():
    with Place() as place, Daemon(place, *nic(place)) as vionic:
        vionic.process.send_signal(signal.SIGPIPE)
        vionic.check_answers()


def test_second_daemon_is_refused():
    """The first one's sockets stay where they are."""
    with Place() as place, Daemon(place, *nic(place)) as vionic:
        done = run("run", "--control", vionic.control, *nic(place, 1))
        check_refused(done, 1, vionic.control, "another vionic", "--control PATH")
        expect(not os.path.exists(place.at("1.sock")), "a NIC's socket was left behind")
        vionic.check_answers()


def test_files_that_are_no_sockets_are_kept():
    with Place() as place:
        with open(place.at("0.sock"), "w", encoding="utf-8") as file:
            file.write("precious")
        done = run("run", "--control", place.at("control.sock"), *nic(place))
        check_refused(done, 1, place.at("0.sock"), "no socket")
        with open(place.at("0.sock"), encoding="utf-8") as file:
            expect(file.read() == "precious", "the file was changed")


def test_stale_sockets_are_replaced():
    """After kill -9 both files are there; the next daemon takes them over."""
    with Place() as place:
        first = Daemon(place, *nic(place)).__enter__()
        first.process.kill()
        first.process.wait()
        expect(os.path.exists(first.control) and os.path.exists(place.at("0.sock")), "no stale files")
        with Daemon(place, *nic(place)) as second:
            second.check_answers()


def test_foreign_file_in_the_way():
    """What is no socket is never removed."""
    with Place() as place:
        path = place.write("control.sock", "precious")
        check_refused(run("run", "--control", path, *nic(place)), 1, path, "no socket", "remove it")
        with open(path, encoding="ascii") as file:
            expect(file.read() == "precious", "the file was changed")


def test_socket_that_somebody_else_made():
    """The file is gone and another's is in its place: that one stays at the end."""
    with Place() as place, Daemon(place, *nic(place)) as vionic:
        os.unlink(vionic.control)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(vionic.control)
            expect(vionic.stop() == 0, vionic.log())
            expect(os.path.exists(vionic.control), "another's socket was removed")


def test_places_that_can_not_be_bound():
    with Place() as place:
        control = ["--control", place.at("control.sock")]
        check_refused(run("run", "--control", place.at("no/such/c.sock"), *nic(place)), 1,
                      "no/such", "--control PATH")
        check_refused(run("run", "--control", "/proc/c.sock", *nic(place)), 1, "/proc/c.sock",
                      "--control PATH")
        path = place.at("no/such/0.sock")
        done = run("run", *control, "--log-level", "error", "--nic", f"socket={path},endpoint=null")
        check_refused(done, 1, path)
        expect(not os.path.exists(control[1]), "the control socket was left behind")


def test_default_control_socket():
    """$XDG_RUNTIME_DIR/vionic/control.sock for users, its directory made; inspect finds it too."""
    with Place() as place:
        os.chmod(place.path, 0o777)
        env = dict(os.environ, XDG_RUNTIME_DIR=place.path)
        user = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
        command = [VIONIC, "run", *nic(place)]
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, **user)
        try:
            path = place.at("vionic/control.sock")
            for line in process.stderr:
                if b"ready; " in line:
                    break
            expect(path.encode() in line, line)
            done = run("inspect", "--json", env=env, **user)
            expect("nic0" in json.loads(done.stdout), done)
            process.terminate()
            rest = process.stderr.read()
            expect(process.wait(PATIENCE) == 0, rest)
            expect(not os.path.exists(path), "the control socket was left behind")
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def test_a_second_signal_ends_it_at_once():
    """Both wait for it: the first begins the clean end, the second cuts it short."""
    with Place() as place, Daemon(place, *nic(place)) as vionic:
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            vionic.process.send_signal(number)
        status = vionic.process.wait(PATIENCE)
        expect(status == -signal.SIGTERM, f"status {status}: {vionic.log()}")
        expect("stopping on SIGINT" in vionic.log(), vionic.log())
        vionic.process.returncode = 0


def check_notify(address, name):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Place() as place:
        manager.bind(address(place))
        manager.settimeout(PATIENCE)
        with Daemon(place, *nic(place), env={"NOTIFY_SOCKET": name(place)}) as vionic:
            said = manager.recv(4096).split(b"\n")
            expect(said[0] == b"READY=1" and b"STATUS=1 NIC" in said, said)
            vionic.check_answers()
            expect(vionic.stop() == 0, vionic.log())
            said = manager.recv(4096)
            expect(said == b"STOPPING=1", said)


def test_sd_notify_by_path():
    check_notify(lambda place: place.at("notify"), lambda place: place.at("notify"))


def test_sd_notify_by_abstract_name():
    name = f"vionic-test-{os.getpid()}"
    check_notify(lambda place: "\0" + name, lambda place: "@" + name)


def test_watchdog():
    """A word within each interval, and none to who did not ask this process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Place() as place:
        manager.bind(place.at("notify"))
        manager.settimeout(PATIENCE)
        env = {"NOTIFY_SOCKET": place.at("notify"), "WATCHDOG_USEC": "200000"}
        with Daemon(place, *nic(place), env=env):
            expect(b"READY=1" in manager.recv(4096), "not ready")
            said = [manager.recv(4096) for _ in range(3)]
            expect(said == [b"WATCHDOG=1"] * 3, said)
        env["WATCHDOG_PID"] = "1"
        while manager.recv(4096) != b"STOPPING=1":
            pass
        with Daemon(place, *nic(place), env=env):
            expect(b"READY=1" in manager.recv(4096), "not ready")
            time.sleep(0.3)
        expect(manager.recv(4096) == b"STOPPING=1", "a word to the watchdog of another process")


def passed(place, *sockets):
    """Options of a child to whom a service manager passes sockets, (name, path) each."""
    listening = []
    for _, path in sockets:
        listening.append(socket.socket(socket.AF_UNIX))
        listening[-1].bind(place.at(path))
        listening[-1].listen()

    def as_manager():
        for number, one in enumerate(listening):
            os.dup2(os.dup(one.fileno()), 100 + number)
        for number in range(len(listening)):
            os.dup2(100 + number, 3 + number)

    names = ":".join(name for name, _ in sockets)
    return listening, {"preexec_fn": as_manager, "close_fds": False,
                       "env": {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names}}


class Activated(Daemon):
    """A daemon that is started as systemd does it, with sockets from 3 on."""

    def __init__(self, place, sockets, *arguments):
        self.listening, options = passed(place, *sockets)
        super().__init__(place, *arguments, **options)
        # The shell puts its own number into LISTEN_PID, and stays the same process.
        self.command = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *self.command]


def test_socket_activation():
    """The manager's sockets are used, and stay when the daemon ends."""
    sockets = [("control", "control.sock"), ("nic1", "1.sock"), ("what", "0.sock")]
    with Place() as place:
        with Activated(place, sockets, *nic(place), *nic(place, 1)) as vionic:
            vionic.check_answers()
            for number in range(2):
                with socket.socket(socket.AF_UNIX) as front_end:
                    front_end.connect(place.at(f"{number}.sock"))
                    until = time.monotonic() + PATIENCE
                    while not vionic.ask({"command": "inspect", "path": f"nic{number}/vhost_user"}
                                         )["result"]["connected"]:
                        expect(time.monotonic() < until, f"nic{number} does not accept")
            expect("warning" not in without_build_notes(vionic.log()), vionic.log())
        for name in ("control.sock", "0.sock", "1.sock"):
            expect(os.path.exists(place.at(name)), f"{name}, the manager's, was removed")


def test_socket_activation_that_fits_nothing():
    with Place() as place, Activated(place, [("nic7", "7.sock")], *nic(place)) as vionic:
        vionic.check_answers()
        expect('passed a socket "nic7" that no NIC' in vionic.log(), vionic.log())
    with Place() as place:
        daemon = Activated(place, [("nic0", "other.sock")], *nic(place))
        done = subprocess.run(daemon.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=daemon.env, timeout=PATIENCE, check=False, **daemon.options)
        check_refused(done, 2, "nic0", place.at("other.sock"), place.at("0.sock"), "same path")


def test_units():
    """systemd understands the units that we ship."""
    dist = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../dist")
    with Place() as place:
        for source in ("vionic.service.in", "vionic.socket"):
            with open(os.path.join(dist, source), encoding="utf-8") as unit:
                text = unit.read().replace("@bindir@/vionic", os.path.abspath(VIONIC))
            place.write(source.removesuffix(".in"), re.sub("Documentation=.*", "", text))
        done = subprocess.run(["systemd-analyze", "verify", place.at("vionic.service"),
                               place.at("vionic.socket")], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
        expect(done.returncode == 0 and b"vionic" not in done.stdout, done.stdout)


def test_sd_notify_to_nobody():
    """A manager that is gone is a warning, no failure."""
    with Place() as place:
        with Daemon(place, *nic(place), env={"NOTIFY_SOCKET": place.at("nobody")}) as vionic:
            vionic.check_answers()
            expect("warning" in vionic.log() and "NOTIFY_SOCKET" in vionic.log(), vionic.log())


def test_journal_prefixes():
    """Under journald each line carries its priority."""
    with Place() as place:
        log_path = place.at("journal")
        with open(log_path, "wb") as log:
            # systemd names the stream behind stderr by its device and inode.
            about = os.fstat(log.fileno())
            env = {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}
            command = [VIONIC, "run", "--control", place.at("c.sock")]
            process = subprocess.Popen(command + nic(place), stdout=log, stderr=log,
                                       env=dict(os.environ, **env))
            until = time.monotonic() + PATIENCE
            while not os.path.exists(place.at("0.sock")) and time.monotonic() < until:
                time.sleep(0.02)
            subprocess.run(command, stdout=log, stderr=log, env=dict(os.environ, **env), check=False)
            process.terminate()
            expect(process.wait(PATIENCE) == 0, "no clean end")
        with open(log_path, encoding="utf-8") as log:
            lines = log.read().splitlines()
        expect(any(line.startswith("<6>nic0: listening at ") for line in lines), lines)
        expect(any(line.startswith("<3>there is no NIC") for line in lines), lines)
        expect(all(line.startswith("<") for line in lines), lines)


def test_log_levels():
    with Place() as place, Daemon(place, *nic(place), "--log-level", "debug") as vionic:
        vionic.check_answers()
    with Place() as place:
        command = [VIONIC, "run", "--control", place.at("c.sock"), "--log-level", "warning"]
        process = subprocess.Popen(command + nic(place), stderr=subprocess.PIPE)
        until = time.monotonic() + PATIENCE
        while not os.path.exists(place.at("0.sock")) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.2)
        process.terminate()
        said = process.communicate(timeout=PATIENCE)[1]
        expect(process.returncode == 0 and without_build_notes(said.decode()) == "", said)


run_cases(cases_of(sys.modules[__name__]))

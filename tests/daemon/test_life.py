# SPDX-License-Identifier: MIT
"""From start to end: signals, socket files, the service manager, the journal."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time

from harness import Daemon, Place, PATIENCE, VIONIC, cases_of, check_refused, expect, run, run_cases


def nic(place, number=0):
    return ["--nic", f"socket={place.at(f'{number}.sock')},endpoint=null"]


def check_clean_end(number):
    with Place() as place, Daemon(place, *nic(place), *nic(place, 1)) as vionic:
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
    check_clean_end(signal.SIGHUP)

    def nohup():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with Place() as place, Daemon(place, *nic(place), preexec_fn=nohup) as vionic:
        vionic.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        vionic.check_answers()


def test_it_rests():
    with Place() as place, Daemon(place, *nic(place)) as vionic:
        vionic.check_idle()


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


def check_notify(address, name):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Place() as place:
        manager.bind(address(place))
        manager.settimeout(PATIENCE)
        with Daemon(place, *nic(place), env={"NOTIFY_SOCKET": name(place)}) as vionic:
            said = manager.recv(4096).split(b"\n")
            expect(said[0] == b"READY=1" and b"STATUS=1 NIC" in said, said)
            vionic.check_answers()
            vionic.process.send_signal(signal.SIGTERM)
            said = manager.recv(4096)
            expect(said == b"STOPPING=1", said)


def test_sd_notify_by_path():
    check_notify(lambda place: place.at("notify"), lambda place: place.at("notify"))


def test_sd_notify_by_abstract_name():
    name = f"vionic-test-{os.getpid()}"
    check_notify(lambda place: "\0" + name, lambda place: "@" + name)


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
        expect(process.returncode == 0 and said == b"", said)


run_cases(cases_of(sys.modules[__name__]))

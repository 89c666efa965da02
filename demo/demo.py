# SPDX-License-Identifier: MIT
"""Shows a vionic NIC at work: a Linux guest gets its address from it and downloads through it.

    python3 demo/demo.py BUILD            the show
    python3 demo/demo.py BUILD --shell    the same network card, and you in the guest's shell

Needs no root. Everything listens on this machine only, and all of it ends with this program.
"""

import argparse
import hashlib
import http.server
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TREE, "tests", "guests"))
import guest as guests
import images

DOWNLOAD_BYTES = 64 << 20
MAC = "52:54:00:76:69:6f"


class Failed(Exception):
    """The demo can't go on; the text says why."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", help="build folder of vionic")
    parser.add_argument("--shell", action="store_true", help="give the guest's shell")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))

    vionic = os.path.join(TREE, arguments.build, "src", "daemon", "vionic")
    begin = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="vionic-demo-") as folder:
            show(vionic, folder, arguments.shell)
    except KeyboardInterrupt:
        print("\nStopped; nothing is left behind.")
        return 130
    except (Failed, guests.GuestError, images.Missing) as problem:
        print(f"\ndemo: {problem}", file=sys.stderr)
        return 1
    print(f"\nDone in {time.monotonic() - begin:.0f} s; nothing is left behind.")
    return 0


def show(vionic, folder, wants_shell):
    say(f"A web server on this machine, 127.0.0.1, with {DOWNLOAD_BYTES >> 20} MB of random bytes")
    data = random.Random(2026).randbytes(DOWNLOAD_BYTES)
    checksum = hashlib.sha256(data).hexdigest()
    with WebServer(data) as server:
        print(f"  port {server.port}, sha256 {checksum}")
        socket = os.path.join(folder, "nic.sock")
        with Daemon(vionic, folder, f"socket={socket},mac={MAC},endpoint=user") as daemon:
            nic = {"socket": socket, "mac": MAC}
            if wants_shell:
                give_shell(nic, server.port)
            else:
                use_network(nic, daemon, server.port, checksum)


def use_network(nic, daemon, port, checksum):
    say("Debian's kernel boots in QEMU (no KVM) with that NIC; a few seconds")
    begin = time.monotonic()
    with guests.QemuGuest([nic]) as guest:
        print(f"  up after {time.monotonic() - begin:.1f} s: {guest.check('uname -sr')}")

        say("The guest asks for an address by DHCP")
        type_in(guest, "ip link show eth0")
        type_in(guest, "udhcpc -i eth0 -n -q")
        gateway = guest.check("ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'").strip()

        say(f"It pings the gateway, which is vionic itself at {gateway}")
        type_in(guest, f"ping -c 3 {gateway}")

        say("It downloads from the web server on this machine, through the gateway's address")
        begin = time.monotonic()
        type_in(guest, f"wget -O /tmp/data http://{gateway}:{port}/data", timeout=120)
        seconds = time.monotonic() - begin
        print(f"  {DOWNLOAD_BYTES / seconds / 1e6:.0f} MB/s")

        say("Did every byte arrive?")
        found = type_in(guest, "sha256sum /tmp/data", timeout=60).split()[0]
        if found != checksum:
            raise Failed(f"the guest's copy differs: its sha256 is {found}, not {checksum}")
        print("  yes: the checksum is the web server's")

        say("What the NIC counted: `vionic inspect`")
        print(daemon.inspect())
        guest.power_off()


def give_shell(nic, port):
    say(f"The guest's shell. Try: wget -O /dev/null http://10.0.2.2:{port}/data")
    subprocess.run(guests.qemu_command([nic], kernel_arguments="vionic.shell") +
                   ["-no-reboot", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
                   preexec_fn=guests.die_with_parent, check=False)


def type_in(guest, command, timeout=30):
    """Runs a command in the guest where the audience can follow it."""
    print(f"  guest# {command}", end="", flush=True)
    guest.watch = Echo()
    try:
        output = guest.check(command, timeout)
    finally:
        guest.watch.finish()
        guest.watch = None
    return output


class Echo:
    """Copies a guest's console to ours, indented, up to the marker that ends an answer."""

    def __init__(self):
        self._held_back = "\n"
        self._ended = False

    def __call__(self, data):
        text = self._held_back + data.decode(errors="replace").replace("\r\n", "\n")
        shown, marker, _ = text.partition("\n@@")
        self._held_back = ""
        if self._ended:
            return
        if marker:
            self._ended = True
            shown = shown.rstrip("\n")
        else:
            # Perhaps the marker has only begun.
            shown = text.rstrip("\n@")
            self._held_back = text[len(shown):]
        sys.stdout.write(shown.replace("\n", "\n    ").replace("\r", "\r    "))
        sys.stdout.flush()

    def finish(self):
        print(flush=True)


class WebServer:
    """Serves one piece of data on the loopback interface."""

    def __init__(self, data):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # the name is the library's
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class Daemon:
    """vionic with one NIC, ready for a guest."""

    def __init__(self, vionic, folder, nic):
        self._vionic = vionic
        self._control = os.path.join(folder, "control.sock")
        self._log = os.path.join(folder, "vionic.log")
        self._command = [vionic, "run", "--control", self._control, "--nic", nic]

    def __enter__(self):
        say("The daemon, with one NIC whose other side is a NAT network")
        print("  $ " + " ".join(os.path.relpath(word, TREE) if word == self._vionic else word
                                for word in self._command))
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=guests.die_with_parent)
        deadline = time.monotonic() + 10
        while not os.path.exists(self._control):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                with open(self._log, encoding="utf-8", errors="replace") as log:
                    raise Failed(f"vionic did not start: {log.read()}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def inspect(self):
        command = [self._vionic, "inspect", "--control", self._control]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def say(text):
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""Boots a Linux guest on vhost-user sockets and runs commands in it over its console.

UmlGuest is User Mode Linux (two seconds to boot, hands its control queue and config space to the
back-end), QemuGuest is QEMU without KVM with Debian's cloud kernel. Both are context managers that leave
no process behind. Every wait has a time limit.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import images

PR_SET_PDEATHSIG = 1
ANSWER = re.compile(rb"\r?\n@@(\d+)\r?\n")


class GuestError(Exception):
    """The guest did not do what it was asked; the text ends with the tail of its console."""


def die_with_parent():
    """For preexec_fn: the child goes when the test goes, however that happens."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Guest:
    """A guest that takes commands, one at a time, and answers with output and exit status."""

    boot_timeout = 90

    def __init__(self, command, environment=None):
        self.console = b""
        self.watch = None  # called with each piece of console as it comes
        self._seen = 0  # how much of the console earlier commands have used up
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=die_with_parent,
            env={**os.environ, **(environment or {})})
        threading.Thread(target=self._read_console, daemon=True).start()

    def __enter__(self):
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        self.kill()

    def wait_until_ready(self):
        self._wait_for(re.compile(rb"@@ready\r?\n"), self.boot_timeout, "boot")

    def run(self, command, timeout=30):
        """Returns (exit status, output) of one line of shell."""
        assert "\n" not in command
        self.start(command)
        return self.finish(command, timeout)

    def check(self, command, timeout=30):
        """Output of one line of shell that must succeed."""
        status, output = self.run(command, timeout)
        if status != 0:
            raise GuestError(f"in the guest, `{command}` ended with {status}:\n{output}")
        return output

    def start(self, command):
        """Begins a line of shell; finish() takes its answer."""
        if not self.is_alive():
            raise GuestError(f"the guest is gone before `{command}`\n{self.tail()}")
        try:
            self._process.stdin.write(command.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise GuestError(f"the guest is gone before `{command}`\n{self.tail()}") from None

    def finish(self, command="the command", timeout=30):
        begin = self._seen
        answer = self._wait_for(ANSWER, timeout, f"answer `{command}`")
        output = self.console[begin:answer.start()].decode(errors="replace").replace("\r\n", "\n")
        return int(answer.group(1)), output.strip("\n")

    def hear(self, pattern, timeout=30):
        """Waits for output of the command that was begun; finish() gives only what comes after it."""
        self._wait_for(re.compile(pattern), timeout, f"say {pattern}")

    def is_alive(self):
        return self._process.poll() is None

    def power_off(self, timeout=20):
        """Ends the guest in an orderly way."""
        self.start("poweroff -f")
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise GuestError(f"the guest does not power off\n{self.tail()}") from None

    def kill(self):
        """Ends the guest at once, with all the processes that it consists of."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()

    def tail(self, length=3000):
        return "--- console:\n" + self.console[-length:].decode(errors="replace")

    def _read_console(self):
        while True:
            data = os.read(self._process.stdout.fileno(), 65536)
            if self.watch:
                self.watch(data)
            with self._changed:
                self.console += data
                self._changed.notify_all()
            if not data:
                return

    def _wait_for(self, pattern, timeout, what):
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = pattern.search(self.console, self._seen)
                if found:
                    self._seen = found.end()
                    return found
                left = deadline - time.monotonic()
                if left <= 0:
                    # It would be busy with this for ever: what comes next must not wait for it too.
                    self.kill()
                    raise GuestError(f"the guest did not {what} in {timeout} s\n{self.tail()}")
                if self._process.poll() is not None and not self._changed.wait(0.2):
                    raise GuestError(f"the guest ended and did not {what}\n{self.tail()}")
                self._changed.wait(min(left, 0.5))


class UmlGuest(Guest):
    def __init__(self, sockets, kernel_arguments=()):
        devices = [f"virtio_uml.device={socket}:1" for socket in sockets]  # 1 is virtio's id of a NIC
        super().__init__(
            ["linux.uml", "mem=128M", f"initrd={images.image('uml')}", *devices,
             "con=null", "con0=fd:0,fd:1", "ssl=null", "quiet", *kernel_arguments],
            {"TMPDIR": "/dev/shm"})


class QemuGuest(Guest):
    """`nics` are dicts: socket, mac, and optionally queues, reconnect (seconds), server, properties.
    `monitor` is the path of a QMP socket to make. With `incoming` there is no guest yet: one that
    runs elsewhere arrives at that URI. `devices` are more -device options, in front of the NICs."""

    boot_timeout = 150

    def __init__(self, nics, cpus=1, kernel_arguments="", reboots=False, memory="256M", monitor=None,
                 incoming=None, devices=()):
        command = qemu_command(nics, cpus, kernel_arguments, memory, devices)
        command += ["-serial", "stdio"]
        if monitor:
            command += ["-qmp", f"unix:{monitor},server=on,wait=off"]
        if incoming:
            command += ["-incoming", incoming]
        super().__init__(command + ([] if reboots else ["-no-reboot"]))


def qemu_command(nics, cpus=1, kernel_arguments="", memory="256M", devices=()):
    """The guest without a console: add -serial."""
    # An emulated timer on a busy host is late enough for Linux to give up on it at boot.
    arguments = f"console=ttyS0 quiet panic=-1 no_timer_check {kernel_arguments}"
    command = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
        "-machine", "q35,memory-backend=memory", "-accel", "tcg", "-smp", str(cpus),
        "-m", memory, "-object", f"memory-backend-memfd,id=memory,size={memory},share=on",
        "-kernel", images.KERNEL, "-initrd", images.image("qemu"),
        "-append", arguments, "-monitor", "none",
    ]
    for device in devices:
        command += ["-device", device]
    for index, nic in enumerate(nics):
        command += qemu_nic_arguments(index, **nic)
    return command


def qemu_nic_arguments(index, socket, mac, queues=1, reconnect=0, properties=""):
    """QEMU 7.2 without KVM crashes when a guest turns MSI-X on for a vhost-user NIC, hence vectors=0."""
    chardev = f"socket,id=chardev{index},path={socket}"
    if reconnect:
        chardev += f",reconnect={reconnect}"
    netdev = f"vhost-user,id=net{index},chardev=chardev{index},queues={queues}"
    device = f"virtio-net-pci,netdev=net{index},mac={mac},romfile=,vectors=0"
    if queues > 1:
        device += ",mq=on"
    if properties:
        device += "," + properties
    return ["-chardev", chardev, "-netdev", netdev, "-device", device]

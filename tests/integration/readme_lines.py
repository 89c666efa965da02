# SPDX-License-Identifier: MIT
"""Runs the commands of README.md as they stand there.

A fenced block that is to be run has a comment on the line before it:

    <!-- test: vionic -->   the daemon; it serves the front-end blocks up to the next such block
    <!-- test: qemu -->     a guest: it must get a DHCP lease and ping the gateway
    <!-- test: dpdk -->     testpmd: what it sends must come back

Only this is changed: /tmp is a folder of the test's own, `vionic` is the one under test and its control
socket lies there too, and a guest that would boot the reader's own disk boots the tests' image, its console
where the test can use it.
"""

import contextlib
import os
import re
import shlex
import subprocess
import time

import cases
import traffic
from daemon import (Folder, HERE, die_with_parent, executable, sanitizer_environment,
                    wait_for_socket)
from guest import Guest, images
from testpmd import Testpmd

README = os.path.join(HERE, "..", "..", "README.md")
BLOCK = re.compile(r"^<!-- test: (\w+) -->\n```[a-z]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SOCKET = re.compile(r"(?:path|socket)=([^,\s]+)")


def main(test):
    with open(README, encoding="utf-8") as readme:
        blocks = BLOCK.findall(readme.read())
    with test.case("README.md marks a daemon, a QEMU and a DPDK command"):
        cases.expect_equal({kind for kind, _ in blocks}, {"vionic", "qemu", "dpdk"}, "marked blocks")
    daemon_text = None
    for kind, text in blocks:
        if kind == "vionic":
            daemon_text = text
            continue
        with test.case(f"the {kind} command of README.md works"), Folder() as folder:
            with daemon(words_of(daemon_text, folder), folder / "control.sock"):
                RUNNERS[kind](words_of(text, folder))


def words_of(text, folder):
    """The words of a block's one command, after what the reader's shell would do to it."""
    text = text.replace("/tmp/", folder.path + "/")
    text = re.sub(r"^\$ ", "", text.strip()).replace("\\\n", " ")
    cases.expect("\n" not in text, f"more than one command in a block: {text}")
    return shlex.split(text)


@contextlib.contextmanager
def daemon(words, control):
    cases.expect(os.path.basename(words[0]) == "vionic", f"not the daemon: {words}")
    process = subprocess.Popen([executable(), *words[1:], "--control", control], stdin=subprocess.DEVNULL,
                               preexec_fn=die_with_parent, env=sanitizer_environment())
    try:
        wait_for_socket(SOCKET.search(" ".join(words)).group(1))
        yield
        process.terminate()
        cases.expect_equal(process.wait(20), 0, "the daemon's exit status")
    finally:
        process.kill()
        process.wait()


def run_qemu(words):
    if "-kernel" not in words:
        words = without_disks(words) + ["-kernel", images.KERNEL, "-initrd", images.image("qemu"),
                                        "-append", "console=ttyS0 quiet no_timer_check"]
    if not {"-nographic", "-serial"} & set(words):
        words = words + ["-nographic"]
    with Guest(words) as guest:
        guest.check("udhcpc -i eth0 -n -q", 30)
        traffic.ping(guest, "10.0.2.2")


def without_disks(words):
    """The options that name the reader's disk, and their values, are left out."""
    kept, index = [], 0
    while index < len(words):
        if words[index] in ("-drive", "-hda", "-cdrom"):
            index += 2
            continue
        kept.append(words[index])
        index += 1
    return kept


def run_dpdk(words):
    with Testpmd(command=words) as testpmd:
        testpmd.command("stop")
        testpmd.command("clear port stats all")
        testpmd.command("set fwd io")
        testpmd.command("start tx_first")
        time.sleep(2)
        testpmd.command("stop")
        statistics = testpmd.statistics(0)
        testpmd.quit()
    # io forwarding sends on what comes back, so one burst goes round and round.
    cases.expect(statistics["RX-packets"] > 10000, f"only {statistics} came back")


RUNNERS = {"qemu": run_qemu, "dpdk": run_dpdk}


if __name__ == "__main__":
    cases.run(main)

# SPDX-License-Identifier: MIT
"""Each wrong word on the command line gets exit status 2 and one sentence that names it and the mend."""

import json

from harness import check_refused, expect, run, run_cases

GOOD = "socket=/tmp/vionic-never.sock,endpoint=null"


def nic(spec):
    return ["run", "--nic", spec]


# Arguments, then what the sentence must hold: the thing and the mend.
REFUSED = [
    ([], ["command", "vionic help"]),
    (["rnu"], ['"rnu"', "did you mean run?"]),
    (["frobnicate"], ['"frobnicate"', "known are help, run, inspect, endpoints"]),
    (["help", "inspct"], ['"inspct"', "did you mean inspect?"]),
    (["run"], ["no NIC", "--nic", "--config"]),
    (["run", "--nik", GOOD], ["--nik", "did you mean --nic?"]),
    (["run", "--frobnicate"], ["--frobnicate", "vionic help run"]),
    (["run", "-x"], ["-x", "vionic help run"]),
    (["run", "-xyz"], ["-xyz", "vionic help run"]),
    (["run", "--nic"], ["--nic", "--nic SPEC"]),
    (["run", "--config"], ["--config", "--config FILE"]),
    (["run", "--help=yes"], ["--help", "=yes", "leave"]),
    (["run", "vm0"], ['"vm0"', "vionic help run"]),
    (["run", "--workers", "0", "--nic", GOOD], ["--workers", "1 to 64", "not 0"]),
    (["run", "--workers", "65", "--nic", GOOD], ["--workers", "1 to 64", "not 65"]),
    (["run", "--workers", "two", "--nic", GOOD], ["--workers", "1 to 64", '"two"']),
    (["run", "--workers", "", "--nic", GOOD], ["--workers", "1 to 64", '""']),
    (["run", "--workers", "9" * 40, "--nic", GOOD], ["--workers", "1 to 64", "999"]),
    (["run", "--poll", "-1", "--nic", GOOD], ["--poll", "0 to 1000000", '"-1"']),
    (["run", "--poll", "1000001", "--nic", GOOD], ["--poll", "0 to 1000000"]),
    (["run", "--poll", "sometimes", "--nic", GOOD], ["--poll", "adaptive", "always", '"sometimes"']),
    (["run", "--poll", "50", "--poll-budget", "20", "--nic", GOOD], ["poll-budget", "adaptive"]),
    (["run", "--poll", "adaptive", "--poll-budget", "101", "--nic", GOOD], ["--poll-budget", "1 to 100"]),
    (["run", "--log-level", "inf"], ["--log-level", '"inf"', "did you mean info?"]),
    (["run", "--log-level", "loud"], ["--log-level", '"loud"', "error, warning, info, debug"]),
    (["run", "--control", "", "--nic", GOOD], ["--control", "not empty"]),
    (["run", "--control", "/tmp/" + "c" * 120, "--nic", GOOD], ["--control", "107", "shorter"]),
    (["run", "--control", b"/tmp/\xff", "--nic", GOOD], ["--control", "UTF-8"]),
    (nic(""), ["--nic", "key=value"]),
    (nic("socket"), ['"socket"', "key=value"]),
    (nic("=5,endpoint=null"), ['"=5"', "key=value"]),
    (nic("socket=/tmp/a,,endpoint=null"), ['""', "key=value"]),
    (nic("endpoint=null"), ["socket", "missing", "socket=/run"]),
    (nic("socket=/tmp/a"), ["endpoint", "missing", "endpoint=user"]),
    (nic("socket=/tmp/a,mtuu=9000,endpoint=null"), ["mtuu", "did you mean mtu?"]),
    (nic("socket=/tmp/a,wheels=4,endpoint=null"), ["wheels", "known are name, socket"]),
    (nic("socket=/tmp/a,queue_size=4,endpoint=null"), ["queue_size", "did you mean queue-size?"]),
    (nic("socket=/tmp/a,mtu=67,endpoint=null"), ["mtu", "68 to 65535", "not 67"]),
    (nic("socket=/tmp/a,mtu=65536,endpoint=null"), ["mtu", "68 to 65535", "not 65536"]),
    (nic("socket=/tmp/a,mtu=1e3,endpoint=null"), ["mtu", "68 to 65535", '"1e3"']),
    (nic("socket=/tmp/a,mtu=1500,mtu=1500,endpoint=null"), ["mtu", "twice", "leave"]),
    (nic("socket=/tmp/a,queues=0,endpoint=null"), ["queues", "1 to 128"]),
    (nic("socket=/tmp/a,queues=129,endpoint=null"), ["queues", "1 to 128"]),
    (nic("socket=/tmp/a,queue-unit=queues,endpoint=null"), ["queue-unit", "rings", "pairs"]),
    (nic("socket=/tmp/a,postcopy=1,endpoint=null"), ["postcopy", "on", "off"]),
    (nic("socket=/tmp/a,in-band=yes,endpoint=null"), ["in-band", "on", "off"]),
    (nic("socket=/tmp/a,iommu=1,endpoint=null"), ["iommu", "on", "off"]),
    (nic("socket=/tmp/a,queue-size=0,endpoint=null"), ["queue-size", "1 to 32768"]),
    (nic("socket=/tmp/a,queue-size=32769,endpoint=null"), ["queue-size", "1 to 32768"]),
    (nic("socket=/tmp/a,speed=2147483648,endpoint=null"), ["speed", "1 to 2147483647"]),
    (nic("socket=/tmp/a,mode=listen,endpoint=null"), ["mode", '"listen"', "server", "client"]),
    (nic("socket=/tmp/a,name=a/b,endpoint=null"), ["name", '"a/b"', "letters, digits"]),
    (nic("socket=/tmp/a,name=" + "n" * 32 + ",endpoint=null"), ["name", "1 to 31"]),
    (nic("socket=/tmp/a,name=,endpoint=null"), ["name", "not empty"]),
    (nic("socket=,endpoint=null"), ["socket", "not empty"]),
    (nic("socket=/" + "s" * 107 + ",endpoint=null"), ["socket", "108 bytes", "107", "shorter"]),
    (nic("socket=/tmp/a,mac=52:54:00:00:00,endpoint=null"), ["mac", "six hexadecimal bytes", "52:54:00:12:34:56"]),
    (nic("socket=/tmp/a,mac=52:54:00:00:00:0g,endpoint=null"), ["mac", "six hexadecimal bytes"]),
    (nic("socket=/tmp/a,mac=52:54:00-00:00:01,endpoint=null"), ["mac", "six hexadecimal bytes"]),
    (nic("socket=/tmp/a,mac=52.54.00.00.00.01,endpoint=null"), ["mac", "six hexadecimal bytes"]),
    (nic("socket=/tmp/a,mac=00:00:00:00:00:00,endpoint=null"), ["mac", "all zeros", "leave mac out"]),
    (nic("socket=/tmp/a,mac=53:54:00:00:00:01,endpoint=null"), ["mac", "multicast", "52:54:00:12:34:56"]),
    (nic("socket=/tmp/a,mac=ff:ff:ff:ff:ff:ff,endpoint=null"), ["mac", "multicast"]),
    (nic("socket=/tmp/a,endpoint="), ["endpoint", "not", '""']),
    (nic("socket=/tmp/a,endpoint=nul"), ["endpoint", '"nul"', "did you mean null?"]),
    (nic("socket=/tmp/a,endpoint=carrier-pigeon"), ['"carrier-pigeon"', "known are", "loopback"]),
    (nic("socket=/tmp/a,endpoint=:x=1"), ["endpoint", "kind is missing"]),
    (nic("socket=/tmp/a,endpoint=null,mtu=1500"), ["endpoint", '"mtu=1500"', "before endpoint="]),
    (nic("socket=/tmp/a,endpoint=null:frob"), ["endpoint", '"frob"', "key=value"]),
    (nic("socket=/tmp/a,endpoint=null:kind=user"), ["endpoint", "kind", "before the colon"]),
    (nic("socket=/tmp/a,endpoint=null:" + ",".join(["x=1"] * 65)), ["endpoint", "64 options"]),
    (nic(b"socket=/tmp/\xff,endpoint=null"), ["--nic", "UTF-8"]),
    (nic(b"socket=/tmp/a,endpoint=\xc3"), ["--nic", "UTF-8"]),
    (nic("socket=/tmp/a,\x1b[31mred=1,endpoint=null"), ["?[31mred", "known are"]),
    (["run", "--nic", "socket=/tmp/a,name=x,endpoint=null", "--nic", "socket=/tmp/b,name=x,endpoint=null"],
     ["name", '"x"', "another NIC"]),
    (["run", "--nic", "socket=/tmp/a,endpoint=null", "--nic", "socket=/tmp/a,endpoint=null"],
     ["socket", "/tmp/a", "another NIC"]),
    (["run", "--control", "/tmp/a", "--nic", "socket=/tmp/a,endpoint=null"],
     ["socket", "/tmp/a", "control socket"]),
    (["inspect", "--jsn"], ["--jsn", "did you mean --json?"]),
    (["inspect", "--json=1"], ["--json", "no value"]),
    (["inspect", "a", "b"], ['"b"', "vionic help inspect"]),
    (["inspect", "--control"], ["--control", "--control PATH"]),
    (["inspect", "--control", "/" + "c" * 120], ["control", "--control"]),
    (["inspect", b"\xff"], ["path", "UTF-8"]),
    (["endpoints", "null"], ['"null"', "vionic help endpoints"]),
    (["endpoints", "--control", "/tmp/x"], ["--control", "vionic help endpoints"]),
]


def refused(arguments, words):
    def case():
        check_refused(run(*arguments), 2, *words)
    name = " ".join(a if isinstance(a, str) else repr(a) for a in arguments)
    return ("refused: " + name.replace("#", "")[:90].replace("\x1b", "ESC"), case)


def check_help(*arguments, words):
    done = run(*arguments)
    text = done.stdout.decode()
    expect(done.returncode == 0 and done.stderr == b"", f"{arguments}: {done}")
    for word in words:
        expect(word in text, f"{word!r} is not in the help of {arguments}")
    expect(max(map(len, text.splitlines())) <= 100, "a line of the help is too wide")


def help_is_there():
    for form in (["--help"], ["-h"], ["help"]):
        check_help(*form, words=["run", "inspect", "endpoints", "--version", "Examples:"])
    for form in (["help", "run"], ["run", "--help"], ["run", "--nic", "rubbish", "-h"]):
        check_help(*form, words=["--nic=SPEC", "--config=FILE", "hostfwd=tcp:127.0.0.1:2222-:22"])
    check_help("help", "inspect", words=["--json", "nic0/queues/0", "Examples:"])
    check_help("endpoints", "--help", words=["--json", "Examples:"])


def version():
    done = run("--version")
    expect(done.returncode == 0, done)
    words = done.stdout.decode().split()
    expect(len(words) == 2 and words[0] == "vionic" and words[1][0].isdigit(), done.stdout)


def print_capabilities():
    """vhost-user.rst: the JSON on stdout, success, other arguments ignored."""
    for form in (["--print-capabilities"], ["run", "--print-capabilities"],
                 ["run", "--nic", "rubbish", "--print-capabilities"]):
        done = run(*form)
        expect(done.returncode == 0 and done.stderr == b"", done)
        expect(json.loads(done.stdout)["type"] == "net", done.stdout)


def endpoints():
    done = run("endpoints", "--json")
    kinds = json.loads(done.stdout)
    expect(done.returncode == 0 and {"null", "loopback"} <= {k["kind"] for k in kinds}, kinds)
    text = run("endpoints").stdout.decode()
    for kind in kinds:
        expect(set(kind) == {"kind", "summary", "options"}, kind)
        expect(f"{kind['kind']}: {kind['summary']}\n" in text, f"{kind['kind']} is not in {text}")
        for line in kind["options"].splitlines():
            expect(line in text, f"{line!r} is not in {text}")


def full_output():
    """A device that is full is reported, not taken for success."""
    import subprocess
    from harness import VIONIC
    with open("/dev/full", "wb") as full:
        done = subprocess.run([VIONIC, "endpoints"], stdout=full, stderr=subprocess.PIPE)
    expect(done.returncode == 1 and b"standard output" in done.stderr, done)


def no_default_control():
    import os
    env = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
    if os.geteuid() == 0:
        done = run("inspect", env=env, user=65534, group=65534)
    else:
        done = run("inspect", env=env)
    check_refused(done, 2, "XDG_RUNTIME_DIR", "--control PATH")


run_cases([refused(*row) for row in REFUSED] + [
    ("help is there", help_is_there),
    ("version", version),
    ("print capabilities", print_capabilities),
    ("endpoints as text and JSON", endpoints),
    ("a full device under stdout", full_output),
    ("no XDG_RUNTIME_DIR", no_default_control),
])

# SPDX-License-Identifier: MIT
"""Builds base, memory, ring, nic and the switch for machines with other words (s390x: big-endian; i686: 32
bits), with their unit tests, the property test of the rings and the fuzz corpora, and runs them
there.

    python3 tests/cross/run.py FOLDER [TARGET]     FOLDER: where it builds

cmocka comes from this folder. Speaks TAP; a target whose compiler or emulator is not installed is
skipped.
"""

import glob
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))

# compiler, emulator
TARGETS = {
    "s390x": ("s390x-linux-gnu-gcc", "qemu-s390x-static"),
    "i686": ("i686-linux-gnu-gcc", "qemu-i386-static"),
}

SOURCES = ["src/base/*.c", "src/memory/*.c", "src/ring/*.c", "src/nic/*.c",
           "src/endpoint/lane.c", "src/endpoint/spec.c", "src/endpoint/switch/*.c",
           "src/run/worker_bell.c", "src/run/worker_poll.c",
           "src/transport/vhost_user_share.c"]
TEST_LIB = ["tests/cross/cmocka.c", "tests/lib/clockwork.c", "tests/lib/driver_[prs]*.c",
            "tests/lib/guest_ram.c", "tests/lib/control_*.c", "tests/lib/packet.c",
            "tests/lib/tunnel_frame.c",
            "tests/unit/*_bed.c", "tests/unit/*_sample.c", "tests/property/ring_[!s]*.c",
            "tests/property/ring_schedule.c"]
TESTS = ["tests/unit/test_*.c", "tests/property/test_*.c"]
# a million sleeps; single steps of a traced process: not under an emulator. All kinds of endpoints
# with their libraries: not for these machines.
NOT_HERE = {"test_ring_threads", "test_inflight", "test_funnel"}
FUZZ_LIB = ["tests/fuzz/fuzz.c", "tests/fuzz/replay.c", "tests/fuzz/fuzz_endpoint.c",
            "tests/fuzz/pair_bed.c", "tests/fuzz/ring_input.c"]
FUZZ = ["split_ring", "packed_ring", "control_queue", "hash", "merge", "net_header",
        "ring_schedule", "segment"]
FLAGS = ["-std=gnu17", "-O1", "-g", "-pthread", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64",
         "-fno-strict-aliasing", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers",
         "-Wno-format-truncation", "-Wno-maybe-uninitialized", "-Wno-psabi", "-Itests/cross",
         "-Itests/lib", "-Itests/unit", "-Itests/property", "-Itests/fuzz", "-Iinclude", "-Isrc"]


def main():
    folder = os.path.abspath(sys.argv[1])
    failed = number = 0
    for target in sys.argv[2:] or TARGETS:
        for good, name in run_target(target, os.path.join(folder, target)):
            number += 1
            failed += not good
            print(f"{'ok' if good else 'not ok'} {number} - {target}: {name}", flush=True)
    print(f"1..{number}")
    return 1 if failed else 0


def run_target(target, folder):
    """A result for the build, and one for each program."""
    compiler, emulator = TARGETS[target]
    for tool in (compiler, emulator, "ninja"):
        if shutil.which(tool) is None:
            yield True, f"# SKIP there is no {tool}: run tools/setup.sh"
            return
    programs = write_ninja(compiler, folder)
    built = subprocess.run(["ninja", "-k", "0", "-f", os.path.join(folder, "build.ninja")],
                           cwd=TREE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if built.returncode != 0:
        print(built.stdout, file=sys.stderr)
    yield built.returncode == 0, "builds"
    for name, arguments in programs.items() if built.returncode == 0 else ():
        yield run_program([emulator, os.path.join(folder, name), *arguments]), name


def run_program(command):
    done = subprocess.run(command, cwd=TREE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if done.returncode != 0:
        print(f"{' '.join(command)}: {done.returncode}\n{done.stdout}", file=sys.stderr)
    return done.returncode == 0


def expand(patterns):
    return [os.path.relpath(path, TREE) for pattern in patterns
            for path in sorted(glob.glob(os.path.join(TREE, pattern)))]


def write_ninja(compiler, folder):
    """The build, and its programs with their arguments."""
    os.makedirs(folder, exist_ok=True)
    lines = [f"builddir = {folder}",
             "rule cc",
             f"  command = {compiler} {' '.join(FLAGS)} -MMD -MF $out.d -c $in -o $out",
             "  depfile = $out.d",
             "  deps = gcc",
             "rule link",
             f"  command = {compiler} -static -pthread $in -o $out -latomic"]

    def compiled(paths):
        made = []
        for path in paths:
            made.append(os.path.join(folder, path.replace("/", "_")[:-1] + "o"))
            lines.append(f"build {made[-1]}: cc {path}")
        return made

    library = compiled(expand(SOURCES) + expand(TEST_LIB))
    fuzz_library = compiled(FUZZ_LIB)
    programs = {}
    for path in expand(TESTS):
        name = os.path.basename(path)[:-2]
        if name not in NOT_HERE:
            programs[name] = []
            lines.append(f"build {folder}/{name}: link {' '.join(compiled([path]) + library)}")
    for name in FUZZ:
        parts = compiled([f"tests/fuzz/target_{name}.c"]) + fuzz_library + library
        programs["fuzz_" + name] = [f"tests/fuzz/corpus/{name}", f"tests/fuzz/regressions/{name}"]
        lines.append(f"build {folder}/fuzz_{name}: link {' '.join(parts)}")
    with open(os.path.join(folder, "build.ninja"), "w", encoding="utf-8") as ninja:
        ninja.write("\n".join(lines) + "\n")
    return programs


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""Installs the build into a scratch directory and builds a program against what lies there, as C and as C++,
against the shared and the static library, with the flags that pkg-config says.

    test_install.py SOURCE_ROOT BUILD_ROOT SANITIZERS COMPILER
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from tap import expect, run_cases

SOURCE, BUILD = (pathlib.Path(argument) for argument in sys.argv[1:3])
SANITIZE = [] if sys.argv[3] == "none" else [f"-fsanitize={sys.argv[3]}"]
CC = sys.argv[4]
CXX = {"gcc": "g++", "clang": "clang++"}[CC]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="vionic-install-"))
ROOT = SCRATCH / "root"


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, **options)
    expect(done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def installed(name):
    found = sorted(ROOT.rglob(name))
    expect(found, f"{name} was not installed")
    return found[0]


def flags(*which):
    environment = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": str(ROOT),
                   "PKG_CONFIG_LIBDIR": str(installed("vionic.pc").parent)}
    return run("pkg-config", *which, "vionic", env=environment).split()


def build_and_run(compiler, language, source, libraries):
    program = SCRATCH / "uses"
    library_dir = installed("libvionic.so").parent
    run(compiler, *language, *STRICT, *SANITIZE, *flags("--cflags"), SOURCE / "tests/api" / source,
        "-o", program, *libraries)
    said = run(program, SCRATCH / "socket", env={**os.environ, "LD_LIBRARY_PATH": str(library_dir)}, timeout=60)
    expect(said.strip() == flags("--modversion")[0], f"it said {said!r}")
    return program


def shared():
    return flags("--libs")


def static():
    libraries = flags("--libs", "--static")
    expect("-lvionic" in libraries, f"no -lvionic in {libraries}")
    return ["-l:libvionic.a" if word == "-lvionic" else word for word in libraries]


def needed(program):
    return re.findall(r"NEEDED +(\S+)", run("objdump", "-p", program))


def test_meson_install_puts_everything_in_its_place():
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", ROOT)
    for name in ("vionic.h", "vionic_endpoint.h", "vionic.pc", "libvionic.so", "libvionic.so.0", "libvionic.a",
                 "vionic", "vionic.1", "vionic.h.3", "vionic_endpoint.h.3", "vionic.socket"):
        installed(name)


def test_the_unit_starts_the_daemon_that_was_installed():
    unit = installed("vionic.service").read_text()
    program = "/" + str(installed("vionic").relative_to(ROOT))
    expect(f"ExecStart={program} run" in unit and f"ExecReload={program} run" in unit, unit)


def test_the_shared_library_is_called_libvionic_so_0():
    said = run("objdump", "-p", installed("libvionic.so"))
    expect(re.search(r"SONAME +libvionic\.so\.0$", said, re.M), said)


def test_c_with_the_shared_library():
    program = build_and_run(CC, ["-std=c99"], "uses.c", shared())
    expect("libvionic.so.0" in needed(program), needed(program))


def test_c_with_the_static_library():
    program = build_and_run(CC, ["-std=c99"], "uses.c", static())
    expect("libvionic.so.0" not in needed(program), needed(program))


def test_cpp_with_the_shared_library():
    build_and_run(CXX, ["-std=c++11"], "uses.cc", shared())


def test_cpp_with_the_static_library():
    build_and_run(CXX, ["-std=c++11"], "uses.cc", static())


def test_the_example_builds_from_what_is_installed():
    run(CC, "-std=gnu17", *STRICT, *SANITIZE, *flags("--cflags"), SOURCE / "examples/embed.c", "-o",
        SCRATCH / "embed", *shared())


def examples_of(page):
    """The C code between .EX and .EE of a manual page."""
    text = (SOURCE / "doc" / page).read_text()
    blocks = re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.M | re.S)
    return [block.replace("\\-", "-").replace("\\e", "\\") for block in blocks if ";" in block]


def test_the_examples_of_the_manual_compile():
    for page in ("vionic.h.3", "vionic_endpoint.h.3"):
        code = "".join(examples_of(page))
        expect(code, f"{page} has no example")
        source = SCRATCH / "example.c"
        source.write_text(f"#include <vionic_endpoint.h>\n{code}")
        run(CC, "-std=gnu17", "-Wall", "-Werror", *flags("--cflags"), "-c", source, "-o", SCRATCH / "example.o")


def test_headers_stand_alone_and_warn_of_nothing():
    for header in sorted((SOURCE / "include").glob("*.h")):
        for compiler, language in ((CC, "c"), (CXX, "c++")):
            run(compiler, "-x", language, *STRICT, "-Wconversion", "-fsyntax-only", *flags("--cflags"), header)


def main():
    cases = [(name[5:].replace("_", " "), value) for name, value in globals().items() if name.startswith("test_")]
    try:
        return run_cases(cases)
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)


sys.exit(main())

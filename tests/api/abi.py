# SPDX-License-Identifier: MIT
"""What programs that were built against the library rely on, as text: exported symbols, the types of functions,
size and offsets of every public struct, values of every enumeration. vionic.abi beside this file holds what is
promised; what differs is an accident, or has to be a decision:

    python3 tests/api/abi.py BUILD/src/libvionic.so            compares
    python3 tests/api/abi.py --update BUILD/src/libvionic.so   writes what the tree has now; look at the diff

Structs may grow at their end (if they begin with `size`), enumerations and functions may be added. Anything else
breaks programs: it needs a new soname.
"""

import difflib
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parent.parent / "include"
PROMISED = HERE / "vionic.abi"
HEADERS = sorted(path.name for path in INCLUDE.glob("*.h"))


def output_of(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def declarations():
    """Top-level declarations of the public headers, in order, as clang sees them."""
    with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
        source.write("".join(f"#include <{name}>\n" for name in HEADERS))
        source.flush()
        tree = json.loads(output_of("clang", "-Xclang", "-ast-dump=json", "-fsyntax-only", "-I", INCLUDE,
                                    source.name))
    where = ""
    for node in tree["inner"]:
        # clang names a file only where it changes.
        location = node.get("loc", {})
        location = location.get("expansionLoc", location)
        where = location.get("file", where)
        if where.startswith(str(INCLUDE)):
            yield node


def members(node, kind):
    return [inner["name"] for inner in node.get("inner", []) if inner["kind"] == kind and "name" in inner]


def layout_lines(structs, enums):
    """Sizes, offsets and values, asked from a compiled program."""
    prints = []
    for name, fields in structs:
        prints.append(f'printf("struct {name} %zu\\n", sizeof(struct {name}));')
        for field in fields:
            prints.append(f'printf("struct {name}.{field} %zu %zu\\n", offsetof(struct {name}, {field}), '
                          f'sizeof(((struct {name} *)0)->{field}));')
    for name, values in enums:
        prints += [f'printf("enum {name} {value} %lld\\n", (long long){value});' for value in values]
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "layout.c"), pathlib.Path(folder, "layout")
        includes = "".join(f"#include <{name}>\n" for name in ["stdio.h", "stddef.h", *HEADERS])
        source.write_text(f"{includes}int main(void)\n{{\n" + "\n".join(prints) + "\nreturn 0;\n}\n")
        output_of("cc", "-I", INCLUDE, source, "-o", program)
        return output_of(program).splitlines()


def describe(library):
    structs, enums, functions = [], [], []
    for node in declarations():
        if node["kind"] == "RecordDecl" and node.get("completeDefinition"):
            structs.append((node["name"], members(node, "FieldDecl")))
        elif node["kind"] == "EnumDecl":
            enums.append((node.get("name", "-"), members(node, "EnumConstantDecl")))
        elif node["kind"] == "FunctionDecl" and node.get("storageClass") != "static":
            functions.append(f"function {node['name']}: {node['type']['qualType']}")
    exported = [line.split()[-1] for line in output_of("nm", "-D", "--defined-only", library).splitlines()]
    return sorted(f"symbol {name}" for name in exported) + sorted(functions) + layout_lines(structs, enums)


def main():
    arguments = [word for word in sys.argv[1:] if word != "--update"]
    if len(arguments) != 1:
        print(__doc__)
        return 2
    now = [line + "\n" for line in describe(arguments[0])]
    if "--update" in sys.argv:
        PROMISED.write_text("".join(now))
        print(f"abi: {len(now)} lines written to {PROMISED}")
        return 0
    promised = PROMISED.read_text().splitlines(keepends=True)
    if now == promised:
        print(f"abi: {len(now)} lines, as promised")
        return 0
    sys.stdout.writelines(difflib.unified_diff(promised, now, "promised (tests/api/vionic.abi)", "now"))
    print("abi: the interface of the library changed. If that is what you want, run\n"
          f"    python3 tests/api/abi.py --update {arguments[0]}\n"
          "and look at the diff: only additions keep programs working.")
    return 1


sys.exit(main())

# SPDX-License-Identifier: MIT
"""Builds the guests' initramfs images: busybox, drivers, iperf3, ethtool and frames.c.

An image lies in .cache/guests/ and is built again when anything that it is made of changes.

    python3 tests/guests/images.py [qemu|uml]      builds one and prints its path
"""

import contextlib
import fcntl
import glob
import hashlib
import lzma
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from initramfs import Initramfs

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
CACHE = os.path.join(TREE, ".cache")
KERNEL = os.path.join(CACHE, "kernel", "vmlinuz")

# In the order that their symbols need each other; those that a kernel has built in are passed over.
QEMU_MODULES = ["failover", "net_failover", "virtio_ring", "virtio", "virtio_pci_legacy_dev",
                "virtio_pci_modern_dev", "virtio_pci", "virtio_mmio", "virtio_net"]
UML_MODULES = ["crc-ccitt", "ipv6", "failover", "net_failover", "virtio_net",
               "llc", "stp", "garp", "mrp", "8021q", "macvlan"]

# Programs beside busybox; the demo does without them.
PROGRAMS = ["iperf3", "ethtool"]


class Missing(Exception):
    """Something that `make setup` installs is not there."""


def image(kind):
    """Path of the image for `kind` of guest: "qemu" or "uml"."""
    with _one_at_a_time():
        inputs = _inputs(kind)
        path = os.path.join(CACHE, "guests", f"{kind}-{_digest(inputs)}.cpio")
        if not os.path.exists(path):
            _build(kind, inputs, path)
    return path


@contextlib.contextmanager
def _one_at_a_time():
    """Tests run side by side: one builds what they share, the others wait for it."""
    os.makedirs(os.path.join(CACHE, "guests"), exist_ok=True)
    with open(os.path.join(CACHE, "guests", "lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _inputs(kind):
    """Guest path -> host path of everything that comes from a file."""
    inputs = {
        "init": os.path.join(HERE, "init"),
        "etc/udhcpc/default.script": os.path.join(HERE, "udhcpc-script"),
        "bin/busybox": _program("busybox"),
    }
    for name in PROGRAMS:
        if shutil.which(name, path=_search_path()):
            program = _program(name)
            inputs[f"bin/{name}"] = program
            inputs.update((library.lstrip("/"), library) for library in _libraries(program))
    inputs["bin/frames"] = _frames()
    inputs.update(_modules(kind))
    return inputs


def _frames():
    """frames.c as a static program."""
    source = os.path.join(HERE, "frames.c")
    path = os.path.join(CACHE, "guests", "frames")
    if not os.path.exists(path) or os.stat(path).st_mtime < os.stat(source).st_mtime:
        scratch = f"{path}.{os.getpid()}"
        subprocess.run(["cc", "-O2", "-static", "-o", scratch, source], check=True)
        os.rename(scratch, path)
    return path


def _search_path():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _program(name):
    path = shutil.which(name, path=_search_path())
    if path is None:
        raise Missing(f"{name} is not installed: run `make setup`")
    return path


def _libraries(program):
    listing = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    words = listing.split()
    return sorted({word for word in words if word.startswith("/")})


def _modules(kind):
    folder, wanted = {
        "qemu": (os.path.join(CACHE, "kernel", "modules"), QEMU_MODULES),
        "uml": ("/usr/lib/uml/modules", UML_MODULES),
    }[kind]
    found = {}
    for name in wanted:
        for path in glob.glob(f"{folder}/**/{name}.ko*", recursive=True)[:1]:
            found[f"modules/{name}.ko"] = path
    if "modules/virtio_net.ko" not in found:
        raise Missing(f"the guest kernel's modules are not in {folder}: run `make setup`")
    return found


def _digest(inputs):
    sha = hashlib.sha256()
    for source in [__file__, os.path.join(HERE, "initramfs.py"), *sorted(inputs.values())]:
        status = os.stat(source)
        sha.update(f"{source} {status.st_size} {status.st_mtime_ns}\n".encode())
    return sha.hexdigest()[:16]


def _build(kind, inputs, path):
    archive = Initramfs()
    for folder in ("dev", "proc", "sys", "tmp", "run", "etc", "sbin"):
        archive.add_folder(folder)
    archive.add_character_device("dev/console", 5, 1)
    archive.add_character_device("dev/null", 1, 3)
    for guest_path, host_path in sorted(inputs.items()):
        if guest_path.startswith("modules/"):
            archive.add_file(guest_path, _read_module(host_path), 0o644)
        else:
            archive.add_host_file(guest_path, host_path)
    wanted = QEMU_MODULES if kind == "qemu" else UML_MODULES
    order = [name for name in wanted if f"modules/{name}.ko" in inputs]
    archive.add_file("modules/order", "".join(f"{name}\n" for name in order).encode(), 0o644)
    archive.add_link("bin/sh", "busybox")
    _write_atomically(path, archive.to_bytes())
    for old in glob.glob(os.path.join(os.path.dirname(path), f"{kind}-*.cpio")):
        if old != path:
            os.unlink(old)


def _read_module(path):
    opener = lzma.open if path.endswith(".xz") else open
    with opener(path, "rb") as source:
        return source.read()


def _write_atomically(path, content):
    """Whoever is killed in the midst of it leaves no half of an image."""
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), delete=False) as scratch:
        scratch.write(content)
    os.chmod(scratch.name, 0o644)
    os.rename(scratch.name, path)


if __name__ == "__main__":
    try:
        print(image(sys.argv[1] if len(sys.argv) > 1 else "qemu"))
    except Missing as missing:
        sys.exit(str(missing))

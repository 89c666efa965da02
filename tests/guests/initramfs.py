# SPDX-License-Identifier: MIT
"""Writes an initramfs: a cpio archive in the kernel's "newc" format. Needs no root and no cpio program."""

import stat

TRAILER = "TRAILER!!!"


class Initramfs:
    """Collects files in memory. Folders appear as their contents need them."""

    def __init__(self):
        self._parts = []
        self._folders = set()
        self._next_inode = 1

    def add_file(self, path, content, mode=0o755):
        self._add_parents(path)
        self._entry(path, stat.S_IFREG | mode, content)

    def add_host_file(self, path, host_path):
        with open(host_path, "rb") as source:
            self.add_file(path, source.read(), 0o755)

    def add_link(self, path, target):
        self._add_parents(path)
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def add_folder(self, path):
        self._add_parents(path + "/.")

    def add_character_device(self, path, major, minor):
        self._add_parents(path)
        self._entry(path, stat.S_IFCHR | 0o600, b"", (major, minor))

    def to_bytes(self):
        archive = b"".join(self._parts) + self._record(TRAILER, 0, b"", (0, 0))
        return archive + b"\0" * (-len(archive) % 512)

    def _add_parents(self, path):
        folders = path.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            folder = "/".join(folders[:depth])
            if folder not in self._folders:
                self._folders.add(folder)
                self._entry(folder, stat.S_IFDIR | 0o755, b"")

    def _entry(self, path, mode, content, device=(0, 0)):
        self._parts.append(self._record(path, mode, content, device))

    def _record(self, path, mode, content, device):
        name = path.encode() + b"\0"
        fields = (
            self._next_inode,
            mode,
            0,  # owner
            0,  # group
            2 if stat.S_ISDIR(mode) else 1,  # links
            0,  # time of change: always the same, so that equal inputs give equal images
            len(content),
            0, 0,  # device the file is on
            device[0], device[1],
            len(name),
            0,  # checksum: none in this format
        )
        self._next_inode += 1
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        return pad4(header + name) + pad4(content)


def pad4(data):
    return data + b"\0" * (-len(data) % 4)

# SPDX-License-Identifier: MIT
"""Memory for DPDK's processes: hugepages where there are some or root can make them, else none."""

import os

COUNT_FILE = "/proc/sys/vm/nr_hugepages"
PAGES_NEEDED = 3 * 96 + 16  # three testpmd of 192 MB in pages of 2 MB


class Memory:
    """`folder` is where DPDK may keep its own small files."""

    def __init__(self, folder, allowed):
        self.folder = folder
        self._before = None  # what to restore
        self.huge = allowed and self._provide()

    def options(self, prefix):
        if self.huge:
            return ["--in-memory", "--single-file-segments"]
        return ["--no-huge", "--file-prefix", prefix]

    def _provide(self):
        free = _meminfo("HugePages_Free")
        if _meminfo("Hugepagesize") != 2048:
            return False
        if free < PAGES_NEEDED and os.geteuid() == 0:
            self._before = _count()
            _set_count(self._before + PAGES_NEEDED - free)
        if _meminfo("HugePages_Free") >= PAGES_NEEDED:
            return True
        self.restore()
        return False

    def restore(self):
        if self._before is not None:
            _set_count(self._before)
            self._before = None


def _meminfo(name):
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        return next((int(line.split()[1]) for line in meminfo if line.startswith(name + ":")), 0)


def _count():
    with open(COUNT_FILE, encoding="ascii") as file:
        return int(file.read())


def _set_count(count):
    try:
        with open(COUNT_FILE, "w", encoding="ascii") as file:
            file.write(str(count))
    except OSError:
        pass  # read-only /proc of a container: no hugepages then

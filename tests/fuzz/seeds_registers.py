# SPDX-License-Identifier: MIT
"""Seeds of the registers: see target_registers.c."""

from words import u16, u32, u64, u8

REG_ACCESS, REG_REGISTER, _, REG_STATUS, REG_WRITE, _, REG_KICK, REG_DISPATCH = range(8)
REG_START, REG_CONFIG, REG_VMM_RESET, REG_LINK, REG_MEMORY, REG_KICK_FD, REG_INSPECT = range(8, 15)
REG_PCI, REG_TWO_PAIRS, REG_SMALL = 1, 2, 4
REG_MODERN, REG_PACKED, REG_RING_RESET, REG_SUSPEND = 1 << 32, 1 << 34, 1 << 40, 1 << 43
REG_EXTRAS = 1 << 16 | 1 << 28 | 1 << 29 # STATUS, INDIRECT_DESC, EVENT_IDX
REG_CONTROL = 1 << 17 | 1 << 22
REG_BUFFER = 0x8000  # in guest memory
REG_GPA = 0x10000
REG_WIDTH = {4: 0, 1: 1, 2: 2, 8: 3, 3: 6, 0: 7}


def reg_start(features, order):
    return u8(REG_START) + u64(features) + u8(order)


def reg_write(at, data):
    return b"".join(u8(REG_WRITE) + u16(at + i) + u8(len(data[i:i + 64])) + data[i:i + 64]
                    for i in range(0, len(data), 64))


def reg_access(offset, width, value):
    size = {8: 8, 4: 4}.get(width, 2)
    return u8(REG_ACCESS, REG_WIDTH[width]) + u16(offset) + value.to_bytes(size, "little")


def reg_config(offset, width, value):
    size = {8: 8, 4: 4}.get(width, 2)
    return u8(REG_CONFIG, REG_WIDTH[width], offset) + value.to_bytes(size, "little")


def reg_register(name, value):
    return u8(REG_REGISTER, name) + u32(value)


def reg_kick(queue):
    return u8(REG_KICK) + u16(queue)


def reg_split(queue, flags, size):
    """One descriptor of `size` bytes in a ring that op_start laid, made available."""
    ring = queue * 0x1000
    return (reg_write(ring, u64(REG_GPA + REG_BUFFER + queue * 0x800) + u32(size) + u16(flags) + u16(0)) +
            reg_write(ring + 0x400, u16(0) + u16(1) + u16(0)))


def reg_packed(queue, flags, size):
    ring = queue * 0x1000
    return reg_write(ring, u64(REG_GPA + REG_BUFFER + queue * 0x800) + u32(size) + u16(0) + u16(flags | 1 << 7))


def registers_seeds():
    usual = REG_MODERN | REG_EXTRAS
    split = (reg_start(usual | REG_RING_RESET | REG_SUSPEND, 4) + reg_split(0, 2, 0x600) + reg_split(1, 0, 112) +
             reg_kick(0) + reg_kick(1) + u8(REG_DISPATCH))
    packed = (reg_start(usual | REG_PACKED | REG_SUSPEND, 4) + reg_packed(0, 2, 0x600) + reg_packed(1, 0, 112) +
              reg_kick(0) + reg_kick(1) + u8(REG_DISPATCH))
    msix = b"".join(reg_access(0x8000 + 4 * i, 4, value) for i, value in enumerate((0xfee00000, 0, 1, 0)))
    vectors = reg_register(3, 1) + reg_access(0x1a, 2, 0) + reg_access(0x10, 2, 0)
    window = (reg_config(0x88, 1, 0) + reg_config(0x8c, 4, 0x14) + reg_config(0x90, 4, 1) +
              reg_config(0x94, 1, 3))
    control = (reg_start(usual | REG_CONTROL, 4) + reg_write(REG_BUFFER, u8(4, 0) + u16(2)) +
               reg_write(0x4000, u64(REG_GPA + REG_BUFFER) + u32(4) + u16(1) + u16(1) +
                         u64(REG_GPA + REG_BUFFER + 64) + u32(1) + u16(2) + u16(0)) +
               reg_write(0x4400, u16(0) + u16(1) + u16(0)) + reg_kick(4) + u8(REG_DISPATCH))
    suspend = u8(REG_STATUS, 0x1f) + u8(REG_LINK, 0) + reg_kick(1) + u8(REG_STATUS, 0x0f)
    return {
        "mmio_split": u8(0) + split + u8(REG_INSPECT),
        "mmio_packed": u8(0) + packed + u8(REG_INSPECT),
        "mmio_suspend": u8(0) + split + suspend + u8(REG_DISPATCH),
        "mmio_queue_reset": u8(0) + split + reg_register(3, 1) + reg_register(9, 1) + reg_register(8, 1),
        "mmio_acknowledge": u8(0) + split + reg_access(0x60, 4, 0) + reg_access(0x64, 4, 3),
        "mmio_control": u8(REG_TWO_PAIRS) + control,
        "mmio_memory_goes": u8(0) + split + u8(REG_MEMORY, 1) + reg_kick(1) + u8(REG_MEMORY, 0, REG_DISPATCH),
        "mmio_jump": u8(REG_SMALL) + reg_start(usual, 3) + reg_write(0x1402, u16(5000)) + reg_kick(1),
        "mmio_widths": u8(0) + b"".join(reg_access(0x70, width, 0xf) for width in REG_WIDTH),
        "pci_split": u8(REG_PCI) + split + u8(REG_INSPECT),
        "pci_packed_suspend": u8(REG_PCI) + packed + suspend,
        "pci_msix": u8(REG_PCI) + reg_config(0x9a, 2, 0x8000) + msix + split[:10] + vectors + split[10:],
        "pci_msix_masked": u8(REG_PCI) + reg_config(0x9a, 2, 0xc000) + split + vectors + u8(REG_LINK, 0) +
                           reg_config(0x9a, 2, 0x8000) + msix,
        "pci_window": u8(REG_PCI) + reg_config(0x04, 2, 0) + window,
        "pci_no_master": u8(REG_PCI) + split + reg_config(0x04, 2, 2) + reg_kick(1) + reg_config(0x04, 2, 6),
        "pci_flr": u8(REG_PCI) + split + reg_config(0xa8, 1, 1) + reg_config(0x04, 2, 6),
        "pci_bar": u8(REG_PCI) + reg_config(0x10, 4, 0xffffffff) + reg_config(0x14, 4, 0xffffffff),
        "pci_control": u8(REG_PCI | REG_TWO_PAIRS) + control + u8(REG_KICK_FD, 4, REG_VMM_RESET),
    }

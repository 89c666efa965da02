# SPDX-License-Identifier: MIT
"""Seeds of the vhost-user socket: see target_vhost_user.c."""

from words import u16, u32, u64, u8

MESSAGE, WRITE_MEMORY, KICK, INSPECT, RAW_BYTES, RECONNECT, SETTLE, STREAM = (
    0,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
)
NEED_REPLY = 1
MEMORY_FILE, KICK_FILE, CALL_FILE, PIPE_READ, PIPE_WRITE, SOCKET, FOLDER, NULL_FILE = range(8)
(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE) = range(1, 6)
(
    SET_VRING_NUM,
    SET_VRING_ADDR,
    SET_VRING_BASE,
    GET_VRING_BASE,
    SET_VRING_KICK,
    SET_VRING_CALL,
    SET_VRING_ERR,
    GET_PROTOCOL_FEATURES,
    SET_PROTOCOL_FEATURES,
    GET_QUEUE_NUM,
    SET_VRING_ENABLE,
) = range(8, 19)
SET_LOG_BASE, SET_LOG_FD = 6, 7
SEND_RARP = 19
GET_INFLIGHT_FD, SET_INFLIGHT_FD = 31, 32
SET_DEVICE_STATE_FD, CHECK_DEVICE_STATE = 42, 43
SET_BACKEND_REQ_FD, SET_VRING_ENDIAN, GET_CONFIG, SET_CONFIG = 21, 23, 24, 25
IOTLB_MSG, IOTLB_UPDATE, IOTLB_INVALIDATE = 22, 2, 3
RESET_DEVICE, VRING_KICK, GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS = (
    34,
    35,
    36,
    37,
    38,
    39,
    40,
)

UVA = 0x7F0000000000
MEMORY_LEN = 0x20000
CTRL_VQ, MQ = 1 << 17, 1 << 22
VERSION_1, PROTOCOL, RING_PACKED, IN_ORDER, MRG_RXBUF, EVENT_BIT = (
    1 << 32,
    1 << 30,
    1 << 34,
    1 << 35,
    1 << 15,
    1 << 29,
)
LOG_ALL, IN_BAND, ACCESS_PLATFORM = 1 << 26, 1 << 14, 1 << 33
PROTOCOL_OFFERED, LOG_SHMFD, RARP, DEVICE_STATE = 0x1A679, 1 << 1, 1 << 2, 1 << 19
INFLIGHT_SHMFD = 1 << 12


def message(request, payload=b"", files=(), flags=NEED_REPLY):
    kinds = b"" if len(files) < 2 else u8(*files)
    how = len(files) | (0x80 if len(files) > 1 else (files[0] << 4 if files else 0))
    return u8(MESSAGE, request, flags, how) + u16(len(payload)) + kinds + payload


def region(gpa, size, uva, offset):
    return u64(gpa) + u64(size) + u64(uva) + u64(offset)


def memory_table(*regions):
    return message(
        SET_MEM_TABLE, u32(len(regions)) + u32(0) + b"".join(regions), (MEMORY_FILE,) * len(regions)
    )


def iotlb(kind, iova, size, uva=0, allowed=3):
    return message(IOTLB_MSG, u64(iova) + u64(size) + u64(uva) + u8(allowed, kind) + bytes(6))


def state(request, index, number):
    return message(request, u32(index) + u32(number))


def address(index, log=None):
    at = UVA + 0x4000 * index
    return message(
        SET_VRING_ADDR,
        u32(index)
        + u32(0 if log is None else 1)
        + u64(at)
        + u64(at + 0x2000)
        + u64(at + 0x1000)
        + u64(log or 0),
    )


def ring_words(index, size, base=0, enable=True, files=True):
    call_and_kick = message(SET_VRING_CALL, u64(index), (CALL_FILE,)) + message(
        SET_VRING_KICK, u64(index), (KICK_FILE,)
    )
    return (
        state(SET_VRING_NUM, index, size)
        + state(SET_VRING_BASE, index, base)
        + address(index)
        + (call_and_kick if files else b"")
        + (state(SET_VRING_ENABLE, index, 1) if enable else b"")
    )


def hello(features, protocol=PROTOCOL_OFFERED):
    return (
        message(GET_FEATURES)
        + message(GET_PROTOCOL_FEATURES)
        + message(SET_PROTOCOL_FEATURES, u64(protocol))
        + message(SET_OWNER)
        + message(SET_FEATURES, u64(features | PROTOCOL))
    )


def area(request, queues, size, at=0, length=0, files=()):
    """Where rings in flight are recorded: the memory file from `at` on, where it is given."""
    return message(request, u64(length) + u64(at) + u16(queues) + u16(size) + u32(0), files)


def guest_write(at, data):
    return u8(WRITE_MEMORY) + u32(at) + u8(len(data)) + data


def vhost_user_seeds():
    whole = memory_table(region(0, MEMORY_LEN, UVA, 0))
    halves = memory_table(
        region(0, 0x10000, UVA, 0), region(0x10000, 0x10000, UVA + 0x10000, 0x10000)
    )
    modern = VERSION_1 | MRG_RXBUF | EVENT_BIT
    desc = u64(0x10000) + u32(100) + u16(0) + u16(0)
    frame = (
        guest_write(0x4000, desc)
        + guest_write(0x5000, u16(0) + u16(1) + u16(0))
        + u8(KICK, SETTLE, INSPECT)
    )
    buffer_desc = u64(0x11000) + u32(2000) + u16(2) + u16(0)
    room = guest_write(0, buffer_desc) + guest_write(0x1000, u16(0) + u16(1) + u16(0)) + u8(KICK)
    rings = ring_words(0, 256) + ring_words(1, 256)
    running = u8(0) + hello(modern) + whole + rings + message(SET_STATUS, u64(15)) + room + frame
    packed = (
        u8(0)
        + hello(modern | RING_PACKED | IN_ORDER)
        + whole
        + ring_words(0, 100, 0x80008000)
        + ring_words(1, 100, 0x80008000)
    )
    packed_frame = guest_write(0x4000, u64(0x10000) + u32(100) + u16(7) + u16(0x80)) + u8(
        KICK, SETTLE, INSPECT
    )
    other_files = b"".join(message(SET_VRING_KICK, u64(1), (kind,)) for kind in range(8))
    return {
        "running": running,
        "packed": packed + packed_frame + state(GET_VRING_BASE, 1, 0),
        "stop_and_go": running
        + state(GET_VRING_BASE, 0, 0)
        + state(GET_VRING_BASE, 1, 0)
        + ring_words(1, 256, 1)
        + frame,
        "memory_goes": running
        + halves
        + memory_table(region(0x10000, 0x10000, UVA + 0x10000, 0))
        + frame,
        "control_queue": u8(1)
        + hello(modern | CTRL_VQ | MQ)
        + whole
        + b"".join(ring_words(index, 64) for index in range(5))
        + guest_write(0x18000, u8(4, 0) + u16(2))
        + guest_write(0x10000, u64(0x18000) + u32(4) + u16(1) + u16(1))
        + guest_write(0x10010, u64(0x18100) + u32(1) + u16(2) + u16(0))
        + guest_write(0x11000, u16(0) + u16(1) + u16(0))
        + u8(KICK, SETTLE, INSPECT),
        "in_band": u8(16)
        + hello(modern, PROTOCOL_OFFERED | IN_BAND)
        + message(SET_BACKEND_REQ_FD, b"", (SOCKET,))
        + whole
        + ring_words(0, 64, enable=True, files=False)
        + ring_words(1, 64, enable=True, files=False)
        + room
        + state(VRING_KICK, 0, 0)
        + frame
        + state(VRING_KICK, 1, 0)
        + u8(SETTLE)
        + message(SET_BACKEND_REQ_FD, b"", (PIPE_WRITE,))
        + state(VRING_KICK, 1, 0)
        + state(GET_VRING_BASE, 1, 0),
        "iommu": u8(32)
        + hello(modern | ACCESS_PLATFORM)
        + message(SET_BACKEND_REQ_FD, b"", (SOCKET,))
        + whole
        + iotlb(IOTLB_UPDATE, UVA, 0x6000, UVA)
        + rings
        + iotlb(IOTLB_UPDATE, UVA + 0x6000, 0xA000, UVA + 0x6000)
        + room
        + frame
        + iotlb(IOTLB_UPDATE, 0x10000, 0x1000, UVA + 0x10000, 1)
        + iotlb(IOTLB_UPDATE, 0x11000, 0x1000, UVA + 0x11000)
        + u8(SETTLE, INSPECT)
        + iotlb(IOTLB_INVALIDATE, 0x10800, 0x100)
        + frame
        + iotlb(IOTLB_INVALIDATE, UVA, 0x1000)
        + u8(KICK, SETTLE, INSPECT)
        + iotlb(IOTLB_UPDATE, UVA, 0x1000, UVA)
        + halves
        + iotlb(IOTLB_INVALIDATE, 0, 0)
        + message(RESET_DEVICE),
        "slots": u8(0)
        + hello(modern)
        + message(GET_MAX_MEM_SLOTS)
        + message(ADD_MEM_REG, u64(0) + region(0, MEMORY_LEN, UVA, 0), (MEMORY_FILE,))
        + ring_words(1, 64)
        + frame
        + message(REM_MEM_REG, u64(0) + region(0, MEMORY_LEN, UVA, 0))
        + u8(INSPECT),
        "kinds_of_files": u8(0)
        + hello(modern)
        + whole
        + rings
        + other_files
        + message(SET_VRING_CALL, u64(1), (PIPE_WRITE,))
        + frame,
        "log": running
        + message(SET_PROTOCOL_FEATURES, u64(PROTOCOL_OFFERED | LOG_SHMFD))
        + message(SET_LOG_BASE, u64(64) + u64(0x1F000), (MEMORY_FILE,))
        + message(SET_LOG_FD, b"", (CALL_FILE,))
        + message(SET_FEATURES, u64(modern | PROTOCOL | LOG_ALL))
        + address(0, 0x2000)
        + address(1, 0x6000)
        + frame
        + message(SET_LOG_BASE, u64(4) + u64(0x1F800), (MEMORY_FILE,))
        + state(GET_VRING_BASE, 1, 0),
        "device_state": u8(0)
        + hello(modern, PROTOCOL_OFFERED | DEVICE_STATE)
        + message(SET_DEVICE_STATE_FD, u32(0) + u32(0), (SOCKET,))
        + message(CHECK_DEVICE_STATE)
        + message(SET_DEVICE_STATE_FD, u32(1) + u32(0), (SOCKET,))
        + u8(STREAM, 8)
        + b"vionic\0\1"
        + u8(STREAM, 0)
        + message(CHECK_DEVICE_STATE)
        + message(SET_DEVICE_STATE_FD, u32(1) + u32(0), (PIPE_READ,))
        + u8(KICK, RECONNECT),
        "areas": u8(0)
        + hello(modern | RING_PACKED, PROTOCOL_OFFERED | INFLIGHT_SHMFD)
        + area(GET_INFLIGHT_FD, 2, 256)
        + area(GET_INFLIGHT_FD, 2, 64)
        + area(SET_INFLIGHT_FD, 2, 100, 0x18000, 0x4000, (MEMORY_FILE,))
        + whole
        + ring_words(0, 100, 0x80008000)
        + ring_words(1, 100, 0x80008000)
        + packed_frame
        + u8(RECONNECT)
        # What a daemon that was killed leaves behind: a batch that was begun.
        + guest_write(0x18000, u64(1) + u16(1) + u16(100) + u16(0) + u16(0) + u8(1, 1) + u16(1) + u32(1))
        + guest_write(0x18020, u16(0) + u16(1) + u16(7) + u16(1) + u64(100) + u64(0) + u64(0))
        + hello(modern | RING_PACKED, PROTOCOL_OFFERED | INFLIGHT_SHMFD)
        + area(SET_INFLIGHT_FD, 2, 100, 0x18000, 0x4000, (MEMORY_FILE,))
        + whole
        + ring_words(0, 100, 0x80008000)
        + ring_words(1, 100, 0x80008000)
        + packed_frame
        + state(GET_VRING_BASE, 0, 0)
        + area(GET_INFLIGHT_FD, 2, 256),
        "areas_split": u8(1)
        + hello(modern, PROTOCOL_OFFERED | INFLIGHT_SHMFD)
        + area(SET_INFLIGHT_FD, 4, 256, 0x18000, 0x5000, (MEMORY_FILE,))
        + whole
        + rings
        + room
        + frame
        + guest_write(0x18000, u64(0) + u16(1) + u16(256) + u16(3) + u16(0xFFFF))
        + u8(KICK, RECONNECT),
        "rarp": u8(0)
        + hello(modern, PROTOCOL_OFFERED | RARP)
        + message(SEND_RARP, u64(0x010000005452))
        + whole
        + rings
        + room
        + message(SEND_RARP, u64(0x010000005452))
        + u8(SETTLE, INSPECT),
        "too_many_files": u8(0) + message(SET_OWNER, b"", (MEMORY_FILE,) * 10),
        "config": u8(4)
        + hello(modern)
        + message(GET_CONFIG, u32(0) + u32(28) + u32(0) + bytes(28))
        + message(SET_CONFIG, u32(0) + u32(6) + u32(0) + bytes(6))
        + message(GET_QUEUE_NUM),
        "channel": u8(1)
        + hello(modern)
        + message(SET_BACKEND_REQ_FD, b"", (SOCKET,))
        + message(SET_BACKEND_REQ_FD, b"", (PIPE_WRITE,)),
        "resets": running
        + message(RESET_DEVICE)
        + rings
        + message(SET_STATUS, u64(0))
        + message(RESET_OWNER)
        + message(GET_STATUS),
        "legacy": u8(0)
        + message(SET_FEATURES, u64(MRG_RXBUF))
        + state(SET_VRING_ENDIAN, 1, 1)
        + whole
        + ring_words(1, 64, 0, False)
        + frame,
        "fault": running
        + guest_write(0x5002, u16(0x7000))
        + u8(KICK, SETTLE, INSPECT)
        + message(SET_VRING_ERR, u64(1), (PIPE_WRITE,))
        + state(GET_VRING_BASE, 1, 0),
        "pieces": u8(0, RAW_BYTES, 6)
        + u32(1)
        + u16(1)
        + u8(RAW_BYTES, 6)
        + u16(0)
        + u32(0)
        + u8(RECONNECT),
        "refused": u8(0)
        + message(99)
        + message(SET_FEATURES, u64(0xFFFFFFFFFFFFFFFF))
        + message(SET_VRING_NUM, u32(9) + u32(7))
        + message(SET_VRING_NUM, u32(0)),
    }

# SPDX-License-Identifier: MIT
"""vhost-user messages on their way between a front-end and DPDK's vhost, which offers a control queue that it does
not serve: UML would wait for it without end."""

import array
import contextlib
import os
import socket
import threading

GET_FEATURES = 1
HEADER_BYTES = 12
# CTRL_VQ and all that is commanded through it; MTU, which the guest would give up half-way; and packed
# rings, which UML starts from a state that DPDK does not take.
HIDDEN_FEATURES = 0xEE000C | 1 << 34


class FeatureProxy:
    """Passes vhost-user messages on, and takes features out of what the back-end offers."""

    def __init__(self, front_path, back_path, hidden_features):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(front_path)
        self._listener.listen()
        self._back_path = back_path
        self._hidden = hidden_features
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        front = self._listener.accept()[0]
        back = socket.socket(socket.AF_UNIX)
        back.connect(self._back_path)
        for source, sink in ((front, back), (back, front)):
            threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source, sink):
        with contextlib.suppress(OSError):
            while True:
                header, fds = receive(source, HEADER_BYTES)
                request, flags, size = array.array("I", header)
                payload = receive(source, size)[0] if size else b""
                if request == GET_FEATURES and flags & 4:
                    features = int.from_bytes(payload, "little") & ~self._hidden
                    payload = features.to_bytes(8, "little")
                socket.send_fds(sink, [header + payload], fds)
                for fd in fds:
                    os.close(fd)
        sink.close()


def receive(source, length):
    data, fds = b"", []
    while len(data) < length:
        piece, more_fds, _, _ = socket.recv_fds(source, length - len(data), 16)
        if not piece:
            raise OSError("the other side is gone")
        data += piece
        fds += more_fds
    return data, fds

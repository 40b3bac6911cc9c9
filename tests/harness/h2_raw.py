# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 client that may say anything: frames by hyperframe, heads by hpack, nothing checked."""

import socket
import struct
import time

import hpack
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ERRORS = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
          "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]
HEAD = [(":method", "POST"), (":scheme", "http"), (":path", "/grpc.health.v1.Health/Check"), (":authority", "x"),
        ("content-type", "application/grpc"), ("te", "trailers")]
ASK = b"\0\0\0\0\0"  # an empty message


def message(data):
    return b"\0" + struct.pack(">I", len(data)) + data


def frame(type, flags, stream, payload=b"", length=None):
    """Nine bytes of head as given, then the payload."""
    return struct.pack(">I", len(payload) if length is None else length)[1:] + bytes([type, flags]) + struct.pack(">I", stream) + payload


class Raw:
    def __init__(self, address, greet=True, timeout_s=10, settings=None):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=timeout_s)
        self.timeout_s = timeout_s
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer, self.frames, self.closed = b"", [], False
        self.heads, self.greeted = {}, greet
        if greet:
            self.send(PREFACE, SettingsFrame(0, settings=settings or {}))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *parts):
        data = b"".join(p if isinstance(p, bytes) else p.serialize() for p in parts)
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def block(self, headers=HEAD, **changes):
        """A head's bytes; changes: other values, None: left out."""
        changed = {k.replace("_", "-") if not k.startswith("_") else ":" + k[1:]: v for k, v in changes.items()}
        fields = [(k, changed.pop(k, v)) for k, v in headers] + list(changed.items())
        return self.encoder.encode([(k, v) for k, v in fields if v is not None])

    def head(self, stream=1, end=False, **changes):
        flags = ["END_HEADERS"] + (["END_STREAM"] if end else [])
        return HeadersFrame(stream, self.block(**changes), flags=flags)

    def ask(self, stream=1, data=ASK, **changes):
        return [self.head(stream, **changes), DataFrame(stream, data, flags=["END_STREAM"])]

    def read(self, until, timeout_s=None):
        """Frames up to one that `until` takes, or None when the server closes or is silent."""
        deadline = time.monotonic() + (timeout_s or self.timeout_s)
        while time.monotonic() < deadline:
            while len(self.buffer) >= 9:
                one, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
                if len(self.buffer) < 9 + length:
                    break
                one.parse_body(memoryview(self.buffer[9:9 + length]))
                self.buffer = self.buffer[9 + length:]
                self.note(one)
                if until(one):
                    return one
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                part = self.socket.recv(65536)
            except socket.timeout:
                return None
            except OSError:
                part = b""
            if not part:
                self.closed = True
                return None
            self.buffer += part
        return None

    def note(self, one):
        self.frames.append(one)
        if isinstance(one, HeadersFrame):
            self.heads.setdefault(one.stream_id, []).extend(self.decoder.decode(one.data))
        if isinstance(one, SettingsFrame) and "ACK" not in one.flags and self.greeted:
            self.send(SettingsFrame(0, flags=["ACK"]))

    def verdict(self, stream=1, timeout_s=None):
        """What the server makes of it: "GOAWAY X", "RST X", "grpc N", "http N", or "closed"."""
        def final(one):
            if isinstance(one, GoAwayFrame) and one.error_code != 0:
                return True
            if isinstance(one, RstStreamFrame) and one.stream_id == stream and one.error_code != 0:
                return True
            return isinstance(one, HeadersFrame) and one.stream_id == stream and "END_STREAM" in one.flags
        one = self.read(final, timeout_s)
        if isinstance(one, GoAwayFrame):
            return f"GOAWAY {ERRORS[one.error_code]}"
        if isinstance(one, RstStreamFrame):
            return f"RST {ERRORS[one.error_code]}"
        if one is None:
            return "closed" if self.closed else "nothing"
        fields = dict(self.heads[stream])
        return f"grpc {fields['grpc-status']}" if fields[":status"] == "200" else f"http {fields[':status']}"

    def alive(self):
        self.send(PingFrame(0, b"\1" * 8))
        return self.read(lambda f: isinstance(f, PingFrame) and "ACK" in f.flags) is not None


def continuations(stream, block, parts):
    size = max(1, -(-len(block) // parts))
    pieces = [block[i:i + size] for i in range(0, len(block), size)]
    frames = [HeadersFrame(stream, pieces[0])]
    frames += [ContinuationFrame(stream, piece) for piece in pieces[1:]]
    frames[-1].flags.add("END_HEADERS")
    return frames

"""Newcomers to a relay that is under attack: how long until it answers them, over RTMP and over HTTP?"""

import os
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

# Nobody else comes from there.
SOURCE = "127.9.9.9"
PATIENCE_S = 5
PAUSE_S = 0.25


def amf(*values: object) -> bytes:
    """The few types of AMF0 that are needed: numbers, strings, null, objects."""
    out = b""
    for value in values:
        match value:
            case None:
                out += b"\x05"
            case str():
                out += b"\x02" + struct.pack(">H", len(value)) + value.encode()
            case dict():
                pairs = (struct.pack(">H", len(name)) + name.encode() + amf(it) for name, it in value.items())
                out += b"\x03" + b"".join(pairs) + b"\0\0\x09"
            case _:
                out += b"\0" + struct.pack(">d", value)
    return out


def command(message_stream_id: int, *values: object) -> bytes:
    body = amf(*values)
    if len(body) > 128:
        raise ValueError("a command of more than one chunk")
    return b"\x03\0\0\0" + struct.pack(">I", len(body))[1:] + b"\x14" + struct.pack("<I", message_stream_id) + body


def opening() -> bytes:
    """All that a client says before it knows whether it may publish or play."""
    handshake = b"\x03" + bytes(8) + os.urandom(1528) + bytes(1536)
    return handshake + command(0, "connect", 1, {"app": "live"}) + command(0, "createStream", 2, None)


def says(port: int, request: bytes, until: bytes) -> float:
    """Connects, says it, and waits for that answer. Seconds; raises OSError if it does not come."""
    begun = time.monotonic()
    with socket.socket() as connection:
        connection.settimeout(PATIENCE_S)
        connection.bind((SOURCE, 0))
        connection.connect(("127.0.0.1", port))
        connection.sendall(request)
        seen = b""
        while until not in seen:
            connection.settimeout(max(0.001, PATIENCE_S - (time.monotonic() - begun)))
            part = connection.recv(1 << 16)
            if not part:
                raise ConnectionError(f"closed, without {until!r}")
            seen = seen[-1000:] + part
    return time.monotonic() - begun


def play(port: int, key: str) -> float:
    return says(port, opening() + command(1, "play", 4, None, key), b"NetStream.Play.Start")


def publish(port: int, key: str) -> float:
    return says(port, opening() + command(1, "publish", 3, None, key, "live"), b"NetStream.Publish.Start")


def get(port: int, path: str, until: bytes) -> float:
    return says(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(), until)


@dataclass
class Waits:
    """What newcomers of one kind met."""

    worst_s: float = 0
    failed: list[str] = field(default_factory=list)

    def note(self, asks) -> None:
        begun = time.monotonic()
        try:
            asks()
        except OSError as error:
            self.failed.append(str(error) or type(error).__name__)
        self.worst_s = max(self.worst_s, time.monotonic() - begun)

    def text(self) -> str:
        return f"{self.worst_s * 1000:.0f}" + (f", {len(self.failed)} failed" if self.failed else "")


class Newcomers:
    """Come one after the other, until they are told to end; over RTMP and over HTTP at a time."""

    def __init__(self, port: int, http_port: int, key: str):
        self.rtmp, self.http = Waits(), Waits()
        self.ended = threading.Event()
        rtmp = [lambda: play(port, key)]
        http = [lambda: get(http_port, "/healthz", b"200 OK"),
                lambda: get(http_port, f"/live/{key}.flv", b"FLV\x01")]
        self.threads = [threading.Thread(target=self.come, args=it) for it in ((self.rtmp, rtmp), (self.http, http))]
        for thread in self.threads:
            thread.start()

    def come(self, waits: Waits, asks: list) -> None:
        while not self.ended.wait(PAUSE_S):
            for ask in asks:
                waits.note(ask)

    def end(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

"""Newcomers to a relay that is under attack: measures how long it takes to answer them, over RTMP and over HTTP."""

import os
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

# No other client uses this source address.
SOURCE = "127.9.9.9"
TIMEOUT_S = 5
PAUSE_S = 0.25


def amf(*values: object) -> bytes:
    """Encodes the AMF0 types that are needed here: numbers, strings, null, objects."""
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
        raise ValueError("the command does not fit into one chunk")
    return b"\x03\0\0\0" + struct.pack(">I", len(body))[1:] + b"\x14" + struct.pack("<I", message_stream_id) + body


def connect() -> bytes:
    """What a client sends before publish or play."""
    handshake = b"\x03" + bytes(8) + os.urandom(1528) + bytes(1536)
    return handshake + command(0, "connect", 1, {"app": "live"}) + command(0, "createStream", 2, None)


def request(port: int, message: bytes, until: bytes) -> float:
    """Connects, sends `message`, and waits for `until` in the response. Returns seconds; raises OSError on failure."""
    begun = time.monotonic()
    with socket.socket() as connection:
        connection.settimeout(TIMEOUT_S)
        connection.bind((SOURCE, 0))
        connection.connect(("127.0.0.1", port))
        connection.sendall(message)
        seen = b""
        while until not in seen:
            connection.settimeout(max(0.001, TIMEOUT_S - (time.monotonic() - begun)))
            part = connection.recv(1 << 16)
            if not part:
                raise ConnectionError(f"closed before {until!r}")
            seen = seen[-1000:] + part
    return time.monotonic() - begun


def play(port: int, key: str) -> float:
    return request(port, connect() + command(1, "play", 4, None, key), b"NetStream.Play.Start")


def publish(port: int, key: str) -> float:
    return request(port, connect() + command(1, "publish", 3, None, key, "live"), b"NetStream.Publish.Start")


def get(port: int, path: str, until: bytes) -> float:
    return request(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(), until)


@dataclass
class Waits:
    """How long newcomers of one kind waited."""

    worst_s: float = 0
    failed: list[str] = field(default_factory=list)

    def measure(self, attempt) -> None:
        begun = time.monotonic()
        try:
            attempt()
        except OSError as error:
            self.failed.append(str(error) or type(error).__name__)
        self.worst_s = max(self.worst_s, time.monotonic() - begun)

    def text(self) -> str:
        return f"{self.worst_s * 1000:.0f}" + (f", {len(self.failed)} failed" if self.failed else "")


class Newcomers:
    """Connect one after another until `end`, over RTMP and over HTTP at the same time."""

    def __init__(self, port: int, http_port: int, key: str):
        self.rtmp, self.http = Waits(), Waits()
        self.ended = threading.Event()
        rtmp = [lambda: play(port, key)]
        http = [lambda: get(http_port, "/healthz", b"200 OK"),
                lambda: get(http_port, f"/live/{key}.flv", b"FLV\x01")]
        self.threads = [threading.Thread(target=self.run, args=it) for it in ((self.rtmp, rtmp), (self.http, http))]
        for thread in self.threads:
            thread.start()

    def run(self, waits: Waits, attempts: list) -> None:
        while not self.ended.wait(PAUSE_S):
            for attempt in attempts:
                waits.measure(attempt)

    def end(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

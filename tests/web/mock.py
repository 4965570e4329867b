#!/usr/bin/env python3
"""A mock relay: serves the page and the HTTP API, with real FLV that ffmpeg encodes once, replayed in real time.

    tests/web/mock.py [--port 8080]        prints its address; POST /mock/<what> changes its state:
    /mock/stop?stream=NAME  /mock/start?stream=NAME  /mock/hold?stream=NAME (the encoder sends nothing; connections stay)
    /mock/delay?stream=NAME&ms=5000 (a slow line: players get everything so much later)
    /mock/scramble?stream=NAME (its video frames cannot be decoded)
    /mock/end?stream=NAME (ends its players, not the stream)  /mock/times?stream=NAME&from=MS (timestamps for new players)
    /mock/deny?stream=NAME&status=401&key=KEY&reason=TEXT (new players without this key; status=0 lets all in again)
    /mock/drain?on=1  /mock/restart (of the relay, as far as events show it)  /mock/empty?on=1  /mock/api?on=0 (the API is on another address)
The token is `mock-token`, the read-only token `mock-read-token`.
"""
import argparse, base64, collections, hashlib, json, math, mimetypes, os, pathlib, random, socket, struct, subprocess
import threading, time
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEDIA = ROOT / "target" / "tools" / "web" / "media"
CSP = ("default-src 'self'; media-src 'self' blob:; img-src 'self' data: blob:; connect-src 'self' ws: wss:; style-src 'self'; "
       "script-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
START = time.monotonic()
now_ms = lambda: int((time.monotonic() - START) * 1000) + 3 * 3600_000

PICTURES = {
    "testsrc2": "testsrc2=size=640x360:rate=30",
    "mandelbrot": "mandelbrot=size=640x360:rate=25:start_scale=2.4:end_scale=0.02:end_pts=300",
    "gradients": "gradients=size=640x360:rate=25:n=4:speed=0.02:c0=0x1b2a49:c1=0xd69a21:c2=0x7a2e39:c3=0x2b6a76:seed=4",
    "life": "life=size=320x180:rate=25:ratio=0.12:mold=24:death_color=#10251f:life_color=#e8d8a8,scale=640:360:flags=neighbor",
    "bars": "smptehdbars=size=640x360:rate=25",
}


def media(picture):
    """[(tag type, timestamp, body)] of a loop that consists of whole groups of pictures."""
    MEDIA.mkdir(parents=True, exist_ok=True)
    path = MEDIA / f"{picture or 'sound'}.flv"
    if not path.exists():
        video = ["-f", "lavfi", "-i", PICTURES[picture]] if picture else []
        encode = "-c:v libx264 -preset veryfast -tune zerolatency -g 50 -keyint_min 50 -sc_threshold 0 -b:v 900k -pix_fmt yuv420p".split()
        part = path.with_suffix(".part")
        subprocess.run(["ffmpeg", "-v", "error", "-y", *video, "-f", "lavfi", "-i", "sine=frequency=330:sample_rate=44100", "-t", "10",
                        *(encode if picture else []), "-c:a", "aac", "-f", "flv", str(part)], check=True, stdin=subprocess.DEVNULL)
        part.rename(path)
    data, at, tags = path.read_bytes(), 13, []
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1:at + 4], "big")
        stamp = int.from_bytes(data[at + 4:at + 7], "big") | data[at + 7] << 24
        tags.append((data[at], stamp, data[at + 11:at + 11 + size]))
        at += 15 + size
    return tags


def flv_tag(kind, stamp, body):
    head = bytes([kind]) + len(body).to_bytes(3, "big") + (stamp & 0xffffff).to_bytes(3, "big") + bytes([stamp >> 24 & 0xff]) + b"\0\0\0"
    return head + body + (11 + len(body)).to_bytes(4, "big")


is_header = lambda kind, body: kind == 18 or (kind == 9 and body[1] == 0 and body[0] & 15 == 7) or (kind == 8 and body[0] >> 4 == 10 and body[1] == 0)
is_key = lambda kind, body: kind == 9 and body[0] >> 4 == 1 and body[1] == 1


ENCODER = "FMLE/3.0 (compatible; Lavf59.27.100)"
CLIENTS = {"rtmp": "LNX 9,0,124,2", "http_flv": "VLC/3.0.18 LibVLC/3.0.18", "websocket_flv": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"}


class Client:
    def __init__(self, address, protocol, delay_s=lambda: 0):
        self.delay_s = delay_s
        self.id, self.address, self.protocol = take_id(), address, protocol
        self.name = CLIENTS[protocol]
        self.queue, self.ready, self.closed, self.since, self.bytes = collections.deque(), threading.Condition(), False, time.monotonic(), 0

    def push(self, data):
        with self.ready:
            self.queue.append((time.monotonic(), data))
            self.ready.notify()

    def close(self):
        with self.ready:
            self.closed = True
            self.ready.notify()

    def __iter__(self):
        while True:
            with self.ready:
                while not self.queue and not self.closed:
                    self.ready.wait()
                if not self.queue:
                    return
                at, data = self.queue.popleft()
            while self.delay_s() > time.monotonic() - at and not self.closed:
                time.sleep(0.01)
            self.bytes += len(data)
            yield data


ids = iter(range(7, 10**9))
ids_lock = threading.Lock()


def take_id():
    with ids_lock:
        return next(ids)


class Stream(threading.Thread):
    """One encoder and its players. `simulated`: how many fake players to list besides the real ones."""

    def __init__(self, name, picture, simulated=0, fields=None, live=True, has_video=True):
        super().__init__(daemon=True)
        self.name, self.simulated, self.fields = name, simulated, fields or {}
        self.has_video = has_video
        self.tags = media(picture if has_video else None) if picture or not has_video else []
        self.live, self.held, self.scrambled, self.clients, self.lock = False, False, False, [], threading.Lock()
        self.received_bytes = self.received_frames = self.delay_ms = 0
        self.denied = None
        # Timestamp of the newest frame, and an offset added to the timestamps sent to players.
        self.now = self.offset = 0
        self.fake_clients = [Client(f"{random.choice(['192.0.2', '198.51.100', '203.0.113'])}.{random.randrange(2, 250)}:{random.randrange(1024, 65000)}", random.choice(["rtmp", "rtmp", "http_flv", "websocket_flv"])) for _ in range(simulated)]
        for client in self.fake_clients:
            client.since -= random.randrange(10, 5000)
        if live:
            self.publish(age=random.randrange(60, 9000))
        self.start()

    def publish(self, age=0):
        with self.lock:
            self.live, self.held, self.since, self.publisher = True, False, time.monotonic() - age, take_id()
            self.address = f"203.0.113.{random.randrange(2, 250)}:{random.randrange(1024, 65000)}"
            self.headers, self.group, self.heard = [], [], time.monotonic()
        emit("publishing", id=self.publisher, peer=self.address, client=ENCODER, stream=self.name)

    def unpublish(self, reason="stopped_by_peer", detail="stopped by peer"):
        with self.lock:
            if not self.live:
                return
            self.live = False
            clients, self.clients = self.clients, []
        for client in clients:
            client.close()
        emit("publish_ended", id=self.publisher, peer=self.address, client=ENCODER, stream=self.name, reason=reason, detail=detail, duration_ms=self.uptime())

    uptime = lambda self: int((time.monotonic() - self.since) * 1000)

    def run(self):
        while True:
            if not self.live or self.held or not self.tags:
                time.sleep(0.05)
                continue
            publisher, base, began = self.publisher, 0, time.monotonic()
            while self.live and self.publisher == publisher:
                for kind, stamp, body in self.tags:
                    if is_header(kind, body) and base > 0:
                        continue
                    pause = began + (base + stamp) / 1000 - time.monotonic()
                    if pause > 0:
                        time.sleep(pause)
                    while self.held and self.live:
                        time.sleep(0.05)
                        began = time.monotonic() - (base + stamp) / 1000
                    if not self.live or self.publisher != publisher:
                        break
                    self.send(kind, base + stamp, body)
                base += self.tags[-1][1] + 33

    def send(self, kind, stamp, body):
        self.now = stamp
        if self.scrambled and kind == 9 and not is_header(kind, body):
            body = body[:5] + bytes(len(body) - 5)
        data = flv_tag(kind, stamp + self.offset, body)
        with self.lock:
            self.heard = time.monotonic()
            self.received_bytes += len(data)
            self.received_frames += kind != 18
            if is_header(kind, body):
                self.headers.append(data)
            else:
                if is_key(kind, body) or (not self.has_video and len(self.group) > 50):
                    self.group = []
                self.group.append(data)
            for client in self.clients:
                client.push(data)

    def join_client(self, client):
        with self.lock:
            if not self.live:
                return False
            flags = 5 if self.has_video else 4
            client.push(b"FLV\1" + bytes([flags]) + b"\0\0\0\x09\0\0\0\0")
            for data in self.headers + self.group:
                client.push(data)
            self.clients.append(client)
        emit("playing", id=client.id, peer=client.address, client=client.name, stream=self.name, protocol=client.protocol)
        return True

    def end_players(self):
        with self.lock:
            clients, self.clients = self.clients, []
        for client in clients:
            client.close()

    def leave(self, client, reason, detail):
        with self.lock:
            if client in self.clients:
                self.clients.remove(client)
        emit("play_ended", id=client.id, peer=client.address, client=client.name, stream=self.name, protocol=client.protocol, reason=reason, detail=detail, duration_ms=int((time.monotonic() - client.since) * 1000))

    def all_clients(self):
        return self.clients + (self.fake_clients if self.live else [])

    def kbps(self):
        return int(980 * (1 + 0.06 * math.sin(time.monotonic() / 7 + len(self.name)))) if self.live and not self.held else 0

    def as_json(self, may_read):
        players = by_protocol(self.all_clients())
        video = {"codec": "H.264", "codec_string": "avc1.640016", "width": 640, "height": 360, "fps": 30.0 if "live_stream" in self.name else 25.0, "key_frame_interval_ms": 2000} if self.has_video else None
        stream = {
            "name": self.name, "is_live": self.live, "started_at": started_at(self.since) if self.live else None, "duration_ms": self.uptime() if self.live else None,
            "idle_ms": (int((time.monotonic() - self.heard) * 1000) if self.tags else 8) if self.live else None,
            "newest_timestamp_ms": (self.now + self.offset) % 2**32 if self.live else None,
            "publisher": {"id": self.publisher, "peer": self.address if may_read else None, "client": ENCODER if may_read else None} if self.live else None,
            "video": video, "audio": {"codec": "AAC", "codec_string": "mp4a.40.2", "sample_rate_hz": 44100, "channels": 1},
            "encoder": "Lavf59.27.100", "received_kbps": self.kbps(), "received_bytes": self.received_bytes, "received_frames": self.received_frames,
            "players": players, "sent_kbps": self.kbps() * players["total"], "skips": 2 if self.simulated > 20 else 0,
        }
        stream.update(self.fields)
        if not self.live:
            stream.update(video=None, audio=None, encoder=None)
        return stream


def by_protocol(clients):
    count = collections.Counter(client.protocol for client in clients)
    return {"rtmp": count["rtmp"], "http_flv": count["http_flv"], "websocket_flv": count["websocket_flv"], "total": len(clients)}


class Scene:
    def __init__(self):
        self.draining, self.empty, self.has_api = False, False, True
        self.events, self.event_ready, self.event_id, self.epoch = collections.deque(maxlen=200), threading.Condition(), 0, 1764115200000
        self.streams, self.sockets = {}, set()

    def live(self):
        return [s for s in self.all() if s.live]

    def all(self):
        return [] if self.empty else sorted(self.streams.values(), key=lambda s: s.name)


scene = Scene()


def rfc3339(at):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03}Z"


def started_at(since):
    """`since` is by the monotonic clock."""
    return rfc3339(time.time() - (time.monotonic() - since))


def emit(event, **fields):
    with scene.event_ready:
        scene.event_id += 1
        scene.events.append((scene.event_id, {"at": rfc3339(time.time()), "event": event, **fields}))


def summary(may_read, may_write):
    all_clients = [c for s in scene.all() for c in s.all_clients()]
    received_kbps = sum(s.kbps() for s in scene.all())
    return {
        "version": "0.1.0", "started_at": rfc3339(time.time() - now_ms() / 1000), "uptime_ms": now_ms(), "is_draining": scene.draining, "cores": 2,
        "streams": {"live": len(scene.live()), "waiting": len(scene.all()) - len(scene.live())},
        "publishers": len(scene.live()), "players": by_protocol(all_clients), "connections": len(all_clients) + len(scene.live()),
        "received_kbps": received_kbps, "sent_kbps": sum(s.kbps() * len(s.all_clients()) for s in scene.all()),
        "received_bytes": received_kbps * now_ms() // 8, "sent_bytes": received_kbps * now_ms(), "skips": 2, "refusals": 0, "send_timeouts": 1,
        "memory": {"resident_bytes": 48_300_000, "budget_bytes": 4294967296, "counted_bytes": 12_900_000,
            "kinds": {"segments": 12_000_000, "headers": 4_000, "input": 496_000, "output": 0, "connections": 400_000, "http": 0},
            "freed_bytes": 0, "ended_connections": 0},
        "open_files": 45 + len(all_clients), "open_files_limit": 20000,
        "listen": {"rtmp": ["0.0.0.0:1936"], "rtmps": [], "http": [f"0.0.0.0:{PORT}"], "https": []}, "has_api": scene.has_api, "may_read": may_read, "may_write": may_write,
    }


def history():
    end = now_ms() // 1000 * 1000
    now = summary(True, True)
    samples = []
    for at in range(end - 899_000, end + 1, 1000):
        t = at / 1000
        rising = 1 / (1 + math.exp((end - 500_000 - at) / 60_000)) * 0.55 + 0.45
        players = max(0, round(now["players"]["total"] * rising + 1.6 * math.sin(t / 41) + 0.8 * math.sin(t / 13))) if now["players"]["total"] else 0
        received_kbps = int(now["received_kbps"] * (1 + 0.05 * math.sin(t / 7) + 0.03 * math.sin(t / 2.3)))
        sent_kbps = int(received_kbps * players / max(1, len(scene.live())))
        samples.append({"uptime_ms": at, "players": players, "received_kbps": received_kbps, "sent_kbps": sent_kbps, "busy_ratio": 0.1})
    scale = now["sent_kbps"] / max(1, samples[-1]["sent_kbps"])
    for sample in samples:
        sample["sent_kbps"] = int(sample["sent_kbps"] * scale)
    return {"interval_ms": 1000, "samples": samples}


def cores():
    all_clients = [c for s in scene.all() for c in s.all_clients()]
    parts = []
    for core in range(2):
        mine = [c for c in all_clients if c.id % 2 == core]
        parts.append({"core": core, "connections": len(mine) + core + 1, "publishers": core + 1, "players": by_protocol(mine), "received_kbps": 2000 + 900 * core,
                      "sent_kbps": 980 * len(mine), "busy_ratio": 0.07 + 0.11 * core + 0.02 * math.sin(time.monotonic() / 5), "passes": now_ms() // 3,
                      "skips": core * 2, "sends": now_ms(), "bytes_per_send": 12345 + 812 * core})
    return {"cores": parts}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log_message = lambda *_: None

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        scene.sockets.add(self.connection)

    def finish(self):
        scene.sockets.discard(self.connection)
        try:
            super().finish()
        except OSError:
            pass

    def answer(self, status, body=b"", kind="application/json", **headers):
        if status >= 400:
            body = {"type": "about:blank", "title": responses[status], "status": status, **body}
            kind = "application/problem+json"
        if not isinstance(body, bytes):
            body = (json.dumps(body) if kind.endswith("json") else body).encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def given(self, query):
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or query.get("token", "")

    def may_write(self, query):
        return scene.has_api and self.given(query) == "mock-token"

    def may_read(self, query):
        return scene.has_api and self.given(query) in ("mock-token", "mock-read-token")

    def route(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = url.path
        try:
            if path.startswith("/mock/"):
                return self.mock(path[6:], query)
            if path.startswith("/api/v1/"):
                return self.api(path[8:], query)
            if path == "/" or path.startswith("/assets/") and not path.endswith(".flv"):
                return self.asset("index.html" if path == "/" else unquote(path[8:]))
            if path in ("/healthz", "/readyz", "/metrics"):
                return self.answer(200, "ok", "text/plain")
            if path.endswith(".flv"):
                return self.live(unquote(path[1:-4]), query)
            self.answer(404, {"detail": "no such page"})
        except (BrokenPipeError, ConnectionResetError, OSError):
            self.close_connection = True

    do_GET = do_POST = do_DELETE = do_HEAD = route

    def asset(self, name):
        path = (ROOT / "web" / name).resolve()
        if not path.is_relative_to(ROOT / "web") or not path.is_file():
            return self.answer(404, {"detail": "no such file"})
        kind = {".js": "text/javascript", ".mjs": "text/javascript", ".woff2": "font/woff2"}.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        self.answer(200, path.read_bytes(), kind, Content_Security_Policy=CSP, X_Content_Type_Options="nosniff", Cache_Control="no-cache")

    def mock(self, what, query):
        stream = scene.streams.get(query.get("stream", ""))
        if what == "stop":
            stream.unpublish()
        elif what == "start":
            stream.publish()
        elif what == "hold":
            stream.held = query.get("on", "1") == "1"
        elif what == "deny":
            stream.denied = (int(query["status"]), query.get("key"), query.get("reason", "no")) if query["status"] != "0" else None
        elif what == "scramble":
            stream.scrambled, stream.group = query.get("on", "1") == "1", []
        elif what == "delay":
            stream.delay_ms = int(query["ms"])
        elif what == "drain":
            scene.draining = query["on"] == "1"
        elif what == "restart":
            with scene.event_ready:
                scene.epoch, scene.event_id = scene.epoch + 1, 0
                scene.events.clear()
            emit("publishing", id=1, peer="192.0.2.1:1", client=None, stream="live/after restart")
        elif what == "empty":
            scene.empty = query["on"] == "1"
        elif what == "end":
            stream.end_players()
        elif what == "times":
            stream.offset, stream.group = int(query["from"]) - stream.now if query.get("from") else 0, []
        elif what == "api":
            scene.has_api = query["on"] == "1"
        else:
            return self.answer(404, {"detail": "no such change"})
        self.answer(204)

    def api(self, path, query):
        is_for_viewers = path in ("summary", "streams", "openapi.yaml") or path.startswith("streams/")
        if not scene.has_api and not is_for_viewers:
            return self.answer(404, {"detail": "the API and metrics are on another address"})
        if path in ("players", "events", "events/past", "config") and not self.may_read(query):
            return self.answer(401, {"detail": "this request needs a token: [api] read_token or token"})
        if self.command == "DELETE":
            return self.delete(path, query)
        if path == "summary":
            return self.answer(200, summary(self.may_read(query), self.may_write(query)))
        if path == "streams":
            return self.answer(200, {"streams": [s.as_json(self.may_read(query)) for s in scene.all()]})
        if path == "cores":
            return self.answer(200, cores())
        if path == "history":
            return self.answer(200, history())
        if path == "publishers":
            return self.answer(200, {"publishers": [{"id": s.publisher, "peer": s.address if self.may_read(query) else None, "client": ENCODER if self.may_read(query) else None, "stream": s.name, "core": s.publisher % 2, "started_at": started_at(s.since), "duration_ms": s.uptime(), "received_bytes": s.uptime() * 122} for s in scene.live()]})
        if path == "players":
            return self.players(query)
        if path == "events/past":
            return self.past_events(query)
        if path.startswith("streams/"):
            name = unquote(path[8:])
            if name.endswith("/still.flv") and (stream := scene.streams.get(name[:-10])):
                return self.still(stream)
            stream = scene.streams.get(name)
            if stream and not scene.empty:
                return self.answer(200, stream.as_json(self.may_read(query)))
        self.answer(404, {"detail": f"not found: {path}"})

    def players(self, query):
        rows = [{"id": c.id, "peer": c.address, "client": c.name, "protocol": c.protocol, "stream": s.name, "core": c.id % 2, "started_at": started_at(c.since), "duration_ms": int((time.monotonic() - c.since) * 1000),
                 "sent_bytes": c.bytes or int((time.monotonic() - c.since) * 122_000), "lag_ms": (c.id * 7) % 60 if c.id % 9 else None}
                for s in scene.all() for c in s.all_clients() if query.get("stream") in (None, s.name)]
        rows.sort(key=lambda row: row["id"])
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 100))
        self.answer(200, {"total": len(rows), "players": rows[offset:offset + limit]})

    def delete(self, path, query):
        if not self.may_write(query):
            if self.may_read(query):
                return self.answer(403, {"detail": "this token may only read; this request needs [api] token"})
            return self.answer(401, {"detail": "this request needs a token: [api] token"})
        kind, _, number = path.partition("/")
        for stream in scene.all():
            if kind == "publishers" and stream.live and stream.publisher == int(number):
                stream.unpublish("kicked", "ended by the operator")
                return self.answer(204)
            for client in stream.all_clients():
                if kind == "players" and client.id == int(number):
                    if client in stream.fake_clients:
                        stream.fake_clients.remove(client)
                        stream.leave(client, "kicked", "ended by the operator")
                    client.close()
                    return self.answer(204)
        self.answer(404, {"detail": "no connection with this id"})

    def past_events(self, query):
        with scene.event_ready:
            epoch, _, last = query.get("after", "-").partition("-")
            known = int(last) if epoch == str(scene.epoch) else 0
            self.answer(200, {"last": f"{scene.epoch}-{scene.event_id}", "events": [event for number, event in scene.events if number > known]})

    def still(self, stream):
        with stream.lock:
            key = next((data for data in stream.group if data[0] == 9), None) if stream.live and stream.has_video and stream.tags else None
            body = key and b"FLV\1\1\0\0\0\x09\0\0\0\0" + b"".join(stream.headers) + key
        if not body:
            return self.answer(404, {"detail": "no key frame"})
        self.answer(200, body, "video/x-flv")

    def live(self, name, query):
        stream = scene.streams.get(name)
        address = f"{self.client_address[0]}:{self.client_address[1]}"
        key = self.headers.get("Sec-WebSocket-Key")
        client = Client(address, "websocket_flv" if key else "http_flv", lambda: stream.delay_ms / 1000)
        if stream and stream.denied and (stream.denied[1] is None or query.get("key") != stream.denied[1]):
            status, _, reason = stream.denied
            if not key:
                return self.answer(status, {"detail": reason})
            self.close_connection = True
            self.upgrade(key)
            close = struct.pack(">H", 4000 + status) + reason.encode()
            self.wfile.write(bytes([0x88, len(close)]) + close)
            return
        if not stream or scene.empty or not stream.tags or not stream.join_client(client):
            return self.answer(404, {"detail": "no publisher"})
        self.close_connection = True
        reason = ("unpublished", "publisher did not come back within publish.publisher_grace")
        try:
            if key:
                self.upgrade(key)
                for data in client:
                    size = len(data)
                    head = bytes([0x82, size]) if size < 126 else b"\x82\x7e" + struct.pack(">H", size) if size < 65536 else b"\x82\x7f" + struct.pack(">Q", size)
                    self.wfile.write(head + data)
                self.wfile.write(b"\x88\x02\x03\xe8")
            else:
                self.send_response(200)
                self.send_header("Content-Type", "video/x-flv")
                self.send_header("Cache-Control", "no-store")
                self.send_header("Connection", "close")
                self.end_headers()
                for data in client:
                    self.wfile.write(data)
        except OSError:
            reason = ("closed_by_peer", "closed by peer")
        finally:
            stream.leave(client, *reason)

    def upgrade(self, key):
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        self.send_response(101)
        for header in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)):
            self.send_header(*header)
        self.end_headers()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    handle_error = lambda *_: None


def main():
    global PORT
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=0)
    server = Server(("127.0.0.1", arguments.parse_args().port), Handler)
    PORT = server.server_address[1]
    for name, options in {
        "live/live_stream": {"picture": "testsrc2", "simulated": 9},
        "studio/camera 1": {"picture": "gradients", "simulated": 31},
        "studio/camera 2": {"picture": "life", "simulated": 4},
        "talks/main hall": {"picture": "mandelbrot", "simulated": 18},
        # Untrusted input.
        "odd/кино <b>№1</b> & 100%/../#?": {"picture": "bars", "simulated": 1},
        "radio/evening": {"picture": None, "has_video": False, "simulated": 6},
        "lab/hevc": {"picture": None, "simulated": 2, "fields": {"video": {"codec": "HEVC", "codec_string": "hvc1.2.4.L153.B0", "width": 3840, "height": 2160, "fps": 50.0, "key_frame_interval_ms": 2000}, "received_kbps": 18400}},
        "live/tonight": {"picture": "bars", "simulated": 0, "live": False},
    }.items():
        scene.streams[name] = Stream(name, **options)
    print(f"http://localhost:{PORT}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

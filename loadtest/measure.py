#!/usr/bin/env python3
"""Measures one server under one load, and prints one line of JSON.

    ./measure.sh fanfare --players 500 --bitrate 1M
    ./measure.sh bare:33 --players 2000 --bitrate 600k      # the bare send loop, merging 33 ms
    ./measure.sh nginx-rtmp --players 500 --bitrate 1M --seconds 20
    ./measure.sh fanfare --players 500 --bitrate 1M --over http   # or ws: FLV by HTTP, or by WebSocket
    ./measure.sh fanfare --players 500 --bitrate 1M --over rtmps  # or https, wss: over TLS
    ./measure.sh nginx-tls --players 500 --bitrate 1M --over rtmps      # nginx with TLS before fanfare, on the same CPU
    ./measure.sh fanfare --streams 200 --players 0 --bitrate 2M --publish-over rtmps
    ./measure.sh fanfare --streams 500 --players 1000 --bitrate 1M      # two players per stream
    ./measure.sh fanfare --streams 800 --players 0 --bitrate 600k       # 800 publishers, nobody plays
    ./measure.sh receive:10 --streams 800 --players 0 --bitrate 600k    # the bare receive loop, resting 10 ms

The server runs on one CPU (0), encoders and players on another (1), over the loopback interface. The measurement starts
once all of them have connected and settled: CPU time and memory of the server's process tree, bytes that the players
received, and latency from the encoder's send to the checked players, all over the same time. Without players, the bytes are
what publishers sent.

If the load generator was itself the bottleneck, "load_is_bottleneck" is true, and a warning is printed: then the figures are
not the server's.
"""

import argparse
import json
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import servers

LISTENS_WITHIN_S = 20
STOPS_WITHIN_S = 10
# Until all publishers have been accepted.
PUBLISHED_WITHIN_S = 60
# New publishers per second.
PUBLISHER_RAMP = 1000
# Seconds of one group of pictures of the load generator's streams: each stream starts at another point of it.
GROUP_S = 2
OVER_TLS = {"rtmps", "https", "wss"}
# The same limit as in report.rs; and the delay with which frames may be sent.
MAX_LOAD_CORES = 0.9
MAX_LATE_MS = 50


@dataclass(frozen=True)
class Load:
    """The load on a server. Without players, only publishers."""

    players: int
    bitrate: str
    seconds: float = 10
    ramp: float = 500
    parse: float = 0.02
    drain_every_ms: int = 10
    server_cpus: str = "0"
    load_cpu: int = 1
    over: str = "rtmp"
    publish_over: str = "rtmp"
    streams: int = 1
    beat_ms: int = 0

    def bits_per_second(self) -> float:
        factor = {"k": 1e3, "m": 1e6}.get(self.bitrate[-1].lower(), 1)
        return float(self.bitrate.rstrip("kKmM")) * factor


def measure(server: str, load: Load, verbose: bool = False) -> dict:
    """Starts the server, puts load on it, and stops it. Raises servers.Missing, or RuntimeError if that fails."""
    return with_server(server, load, lambda run: run.publish_and_play() if load.players else run.publish_only(), verbose)


def with_server(server: str, load: Load, work: Callable[["Run"], dict], verbose: bool = False) -> dict:
    """Starts the server, does the work, stops both, and warns if the load generator was the bottleneck."""
    with tempfile.TemporaryDirectory(prefix="fanfare-load-") as name:
        directory = Path(name)
        ports = servers.Ports(free_port(), free_port())
        if {load.over, load.publish_over} & OVER_TLS:
            ports = servers.Ports(ports.rtmp, ports.http, free_port(), free_port())
        with (directory / "server.log").open("wb") as log:
            command = ["taskset", "-c", load.server_cpus, *servers.command(server, ports.rtmp, directory, ports.http, ports.rtmps, ports.https)]
            process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        run = Run(server, load, directory, process.pid, ports, verbose)
        try:
            for port in filter(None, (ports.rtmp, ports.rtmps)):
                wait_until_it_listens(process, port, directory / "server.log")
            outcome = work(run)
            warn(outcome)
            return outcome
        finally:
            run.end_all()
            end(process)


@dataclass(frozen=True)
class Run:
    """A load on a running server. Files of a part of the load are named by the key of its stream."""

    server: str
    load: Load
    directory: Path
    server_pid: int
    ports: servers.Ports
    verbose: bool = False
    # What was started, ended at the latest with the server.
    started: list = field(default_factory=list)

    def publish_only(self) -> dict:
        load = self.load
        seconds = load.streams / PUBLISHER_RAMP + GROUP_S + load.seconds + 1
        with self.publishing(load, "load", seconds, is_measured=True) as encoder:
            encoder.wait(seconds + 60)
        return published(self.server, load, self.sent("load"), self.held_mb())

    def publish_and_play(self) -> dict:
        load = self.load
        with self.publishing(load, "load", longest_s(load)):
            result = self.result(self.play("load", load), "load")
            held_mb = self.held_mb()
        return figures(self.server, load, result, self.sent("load"), held_mb)

    @contextmanager
    def publishing(self, load: Load, key: str, seconds: float, is_measured: bool = False) -> Iterator[subprocess.Popen]:
        """Publishes the streams of a load during the work. They have all begun when the work begins, unless the publisher
        itself measures the server. Raises RuntimeError if one has ended early."""
        log = self.directory / f"{key}-publish.log"
        command = [*self.on_load_cpu(), "publish", self.url(key, load.publish_over), "--bitrate", load.bitrate,
                   "--streams", str(load.streams), "--ramp", str(PUBLISHER_RAMP), "--beat", str(load.beat_ms),
                   "--settle", str(GROUP_S), "--seconds", str(seconds), "--json", str(self.directory / f"{key}-sent.json")]
        if self.server.startswith("receive"):
            command += ["--blind"]
        if is_measured:
            command += ["--server-pid", str(self.server_pid)]
        with log.open("wb") as output:
            encoder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.started.append(encoder)
        try:
            if not is_measured:
                wait_until_published(encoder, log, load.streams)
            yield encoder
            if encoder.poll():
                raise RuntimeError(f"the encoder ended: {last_lines(log)}")
        finally:
            end(encoder)

    def play(self, key: str, load: Load, settle_s: float = 3, by: tuple[str, ...] = ()) -> subprocess.Popen:
        """Starts the players of a load. `by` is a command that runs them."""
        command = [*by, *self.on_load_cpu(), "play", self.url(key, load.over), "--players", str(load.players), "--streams", str(load.streams),
                   "--ramp", str(load.ramp), "--parse", str(load.parse), "--drain-every", str(load.drain_every_ms),
                   "--settle", str(settle_s), "--seconds", str(load.seconds), "--server-pid", str(self.server_pid),
                   "--json", str(self.directory / f"{key}-played.json")]
        for other in self.started:
            command += ["--load-pid", str(other.pid)] if other.poll() is None else []
        with (self.directory / f"{key}-play.log").open("wb") as log:
            players = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=None if self.verbose else log)
        self.started.append(players)
        return players

    def wait_until_steady(self, players: subprocess.Popen, key: str) -> None:
        """Returns once the measurement of these players has begun."""
        log = self.directory / f"{key}-play.log"
        while not any(b" watching " in line and b"(starting)" not in line for line in log.read_bytes().splitlines()):
            if players.poll() is not None:
                raise RuntimeError(f"the players ended: {last_lines(log)}")
            time.sleep(0.05)

    def result(self, players: subprocess.Popen, key: str) -> dict:
        """What these players received, once they have ended."""
        players.wait(longest_s(self.load))
        path = self.directory / f"{key}-played.json"
        if not path.exists():
            raise RuntimeError(f"the players ended without a result: {last_lines(self.directory / f'{key}-play.log')}")
        result = json.loads(path.read_text())
        path.unlink()
        return result

    def sent(self, key: str) -> dict:
        """What the publishers of these streams sent, once they have ended."""
        path = self.directory / f"{key}-sent.json"
        if not path.exists():
            raise RuntimeError(f"the publishers ended: {last_lines(self.directory / f'{key}-publish.log')}")
        return json.loads(path.read_text())

    def url(self, key: str = "load", over: str = "rtmp") -> str:
        port = {"rtmp": self.ports.rtmp, "rtmps": self.ports.rtmps, "http": self.ports.http, "ws": self.ports.http}
        suffix = "" if over.startswith("rtmp") else ".flv"
        return f"{over}://127.0.0.1:{port.get(over, self.ports.https)}/live/{key}{suffix}"

    def on_load_cpu(self) -> list[str]:
        return [str(servers.LOAD), "--cpu", str(self.load.load_cpu)]

    def end_all(self) -> None:
        for process in self.started:
            end(process)

    def held_mb(self) -> float:
        """What the logs of all streams hold, as fanfare reports it; 0 for other servers."""
        if not self.server.startswith("fanfare"):
            return 0
        return segments_mb(self.metrics())

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports.http}/metrics", timeout=10) as answer:
            return answer.read().decode()


def longest_s(load: Load) -> float:
    """More seconds than a measurement takes."""
    return load.players / load.ramp + load.streams / PUBLISHER_RAMP + 4 * load.seconds + 90


def segments_mb(metrics: str) -> float:
    found = re.search(r'^fanfare_memory_bytes\{kind="segments"\} (\S+)', metrics, re.MULTILINE)
    return float(found[1]) / 1e6 if found else 0


def wait_until_published(encoder: subprocess.Popen, log: Path, streams: int) -> None:
    """Returns once all streams have been accepted, and each has sent a key frame."""
    until = time.monotonic() + PUBLISHED_WITHIN_S
    while f"publishing {streams} streams" not in log.read_text(errors="replace"):
        if encoder.poll() is not None:
            raise RuntimeError(f"the encoder ended: {last_lines(log)}")
        if time.monotonic() > until:
            raise RuntimeError(f"not all streams are published after {PUBLISHED_WITHIN_S} s: {last_lines(log)}")
        time.sleep(0.05)
    # The first one has sent a key frame at once.
    time.sleep(GROUP_S if streams > 1 else 0)


def is_bottleneck(load_cores: float, late_p99_ms: float) -> bool:
    """Whether the load generator had no time left, or sent frames too late: then the load was another one."""
    return load_cores > MAX_LOAD_CORES or late_p99_ms > MAX_LATE_MS


def warn(outcome: dict) -> None:
    if outcome["load_is_bottleneck"]:
        print(f"measure: THE LOAD GENERATOR WAS THE BOTTLENECK (it used {outcome['load_cores']} cores, and sent frames "
              f"{outcome['sent_late_p99_ms']} ms late at p99): these are not the figures of {outcome['server']}",
              file=sys.stderr, flush=True)


def published(server: str, load: Load, result: dict, held_mb: float) -> dict:
    """The line that is printed if there are only publishers."""
    steady = result["steady"]
    usage = steady["server"] or {}
    if not steady["seconds"]:
        raise RuntimeError("the publishers took too long to start: nothing was measured")
    rounded = {
        "mb_per_cpu_second": usage.get("mb_per_cpu_second", 0),
        "cores": usage.get("cores", 0),
        "load_cores": steady["load_cores"],
        "frames_per_second": steady["frames_per_second"],
        "sent_late_p99_ms": steady["late_ms"]["p99"],
        "pending_mb": result["pending_bytes"] / 1e6,
        "resident_mb": usage.get("resident_mb", 0),
        "held_mb": held_mb,
    }
    return {"server": server, **asdict(load), **{name: round(value, 3) for name, value in rounded.items()},
            "load_is_bottleneck": is_bottleneck(steady["load_cores"], steady["late_ms"]["p99"]),
            "held": result["held"]}


def figures(server: str, load: Load, result: dict, sent: dict, held_mb: float) -> dict:
    """The line that is printed: the main figures of a result, under names with units."""
    steady = result["steady"]
    usage = steady["server"] or {}
    delivery = result["delivery"]
    wanted = load.players * load.bits_per_second() / 8 * steady["seconds"]
    rounded = {
        "mb_per_cpu_second": usage.get("mb_per_cpu_second", 0),
        "cores": usage.get("cores", 0),
        "load_cores": steady["load_cores"],
        "sent_late_p99_ms": sent["steady"]["late_ms"]["p99"],
        "pending_mb": sent["pending_bytes"] / 1e6,
        "held_mb": held_mb,
        # What arrived, and what arrived in time: the lower one.
        "share_delivered": min(steady["bytes"] / wanted if wanted else 0, delivery["share"]),
        "longest_wait_p50_ms": delivery["longest_wait_ms"]["p50"],
        "longest_wait_ms": delivery["longest_wait_ms"]["max"],
        "p50_ms": steady["latency_ms"]["p50"],
        "p99_ms": steady["latency_ms"]["p99"],
        "max_ms": steady["latency_ms"]["max"],
        "first_key_frame_p50_ms": result["first_key_frame_ms"]["p50"],
        "first_key_frame_p99_ms": result["first_key_frame_ms"]["p99"],
        "resident_mb": usage.get("resident_mb", 0),
        "resident_kb_per_player":
            (usage.get("resident_mb", 0) - usage.get("resident_before_mb", 0)) * 1000 / load.players,
    }
    counted = {"stalled_players": delivery["stalled_players"], "never": delivery["frames"]["never"],
               "load_is_bottleneck": is_bottleneck(steady["load_cores"], sent["steady"]["late_ms"]["p99"])}
    counted |= {name: result[name] for name in ("held", "connect_failures", "disconnects", "without_picture")}
    checked = {name: result["checked"][name] for name in ("frames", "gaps", "skips", "out_of_order", "corrupt")}
    return {"server": server, **asdict(load), **{name: round(value, 3) for name, value in rounded.items()},
            **counted, **checked, "reasons": result["reasons"]}


def wait_until_it_listens(process: subprocess.Popen, port: int, log: Path) -> None:
    until = time.monotonic() + LISTENS_WITHIN_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {last_lines(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the server does not listen after {LISTENS_WITHIN_S} s: {last_lines(log)}")


def end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def last_lines(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])


def raise_file_limit() -> None:
    """The servers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", help="fanfare, bare:WINDOW_MS, receive:REST_MS, nginx-tls, " + ", ".join(servers.PEERS))
    parser.add_argument("--players", type=int, default=500, help="of all streams together; 0 for publishers only")
    parser.add_argument("--streams", type=int, default=1, help="number of publishers")
    parser.add_argument("--beat-ms", type=int, default=0, help="see fanfare-load publish --help")
    parser.add_argument("--bitrate", default="1M", help="of the stream: 600k, 1M")
    parser.add_argument("--seconds", type=float, default=10, help="length of the measurement")
    parser.add_argument("--ramp", type=float, default=500, help="new players per second")
    parser.add_argument("--parse", type=float, default=0.02, help="share of the players that are checked")
    parser.add_argument("--drain-every-ms", type=int, default=10, help="see fanfare-load play --help")
    parser.add_argument("--over", choices=["rtmp", "http", "ws", "rtmps", "https", "wss"], default="rtmp",
                        help="how players watch fanfare")
    parser.add_argument("--publish-over", choices=["rtmp", "rtmps"], default="rtmp", help="how encoders publish")
    parser.add_argument("--server-cpus", default="0", help="as for taskset -c: 0, 0-1")
    parser.add_argument("--load-cpu", type=int, default=1 if (os.cpu_count() or 1) > 1 else 0)
    parser.add_argument("--verbose", action="store_true", help="show the players' progress")
    options = vars(parser.parse_args())
    server, verbose = options.pop("server"), options.pop("verbose")
    raise_file_limit()
    try:
        print(json.dumps(measure(server, Load(**options), verbose)))
        return 0
    except (servers.Missing, RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"measure: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

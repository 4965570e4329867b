#!/usr/bin/env python3
"""Measures one server under one load, and prints one line of JSON.

    ./measure.sh fanfare --players 500 --bitrate 1M
    ./measure.sh bare:33 --players 2000 --bitrate 600k      # the bare send loop, merging 33 ms
    ./measure.sh nginx-rtmp --players 500 --bitrate 1M --seconds 20
    ./measure.sh fanfare --players 500 --bitrate 1M --over http   # or ws: FLV by HTTP, or by WebSocket

The server runs on one CPU (0), encoder and players on another (1), over the loopback interface. The measurement starts
once all players have connected and settled: CPU time and memory of the server's process tree, bytes that the players
received, and latency from the encoder's send to the checked players, all over the same time.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import servers

LISTENS_WITHIN_S = 20
STOPS_WITHIN_S = 10


@dataclass(frozen=True)
class Load:
    """The load on a server."""

    players: int
    bitrate: str
    seconds: float = 10
    ramp: float = 500
    parse: float = 0.02
    drain_every_ms: int = 10
    server_cpus: str = "0"
    load_cpu: int = 1
    over: str = "rtmp"

    def bits_per_second(self) -> float:
        factor = {"k": 1e3, "m": 1e6}.get(self.bitrate[-1].lower(), 1)
        return float(self.bitrate.rstrip("kKmM")) * factor


def measure(server: str, load: Load, verbose: bool = False) -> dict:
    """Starts the server, puts load on it, and stops it. Raises servers.Missing, or RuntimeError if that fails."""
    with tempfile.TemporaryDirectory(prefix="fanfare-load-") as name:
        directory = Path(name)
        port, http_port = free_port(), free_port()
        with (directory / "server.log").open("wb") as log:
            command = ["taskset", "-c", load.server_cpus, *servers.command(server, port, directory, http_port)]
            process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until_it_listens(process, port, directory / "server.log")
            return figures(server, load, play(process.pid, port, http_port, load, directory, verbose))
        finally:
            end(process)


def play(server_pid: int, port: int, http_port: int, load: Load, directory: Path, verbose: bool) -> dict:
    url = f"rtmp://127.0.0.1:{port}/live/load"
    watched = url if load.over == "rtmp" else f"{load.over}://127.0.0.1:{http_port}/live/load.flv"
    on_load_cpu = [str(servers.LOAD), "--cpu", str(load.load_cpu)]
    max_seconds = load.players / load.ramp + load.seconds + 60
    publish = [*on_load_cpu, "publish", url, "--bitrate", load.bitrate, "--seconds", str(max_seconds)]
    with (directory / "publish.log").open("wb") as log:
        encoder = subprocess.Popen(publish, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        time.sleep(1)
        result = directory / "result.json"
        players = [*on_load_cpu, "play", watched, "--players", str(load.players), "--ramp", str(load.ramp),
                   "--parse", str(load.parse), "--seconds", str(load.seconds), "--json", str(result),
                   "--drain-every", str(load.drain_every_ms), "--server-pid", str(server_pid)]
        quiet = None if verbose else subprocess.DEVNULL
        subprocess.run(players, timeout=max_seconds, stdout=quiet, stderr=quiet, check=False)
        if encoder.poll() is not None:
            raise RuntimeError(f"the encoder ended: {last_lines(directory / 'publish.log')}")
        if not result.exists():
            raise RuntimeError("the players ended without a result")
        return json.loads(result.read_text())
    finally:
        end(encoder)


def figures(server: str, load: Load, result: dict) -> dict:
    """The line that is printed: the main figures of a result, under names with units."""
    steady = result["steady"]
    usage = steady["server"] or {}
    delivery = result["delivery"]
    wanted = load.players * load.bits_per_second() / 8 * steady["seconds"]
    rounded = {
        "mb_per_cpu_second": usage.get("mb_per_cpu_second", 0),
        "cores": usage.get("cores", 0),
        "load_cores": steady["load_cores"],
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
    counted = {"stalled_players": delivery["stalled_players"]}
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
    parser.add_argument("server", help="fanfare, bare:WINDOW_MS, " + ", ".join(servers.PEERS))
    parser.add_argument("--players", type=int, default=500)
    parser.add_argument("--bitrate", default="1M", help="of the stream: 600k, 1M")
    parser.add_argument("--seconds", type=float, default=10, help="length of the measurement")
    parser.add_argument("--ramp", type=float, default=500, help="new players per second")
    parser.add_argument("--parse", type=float, default=0.02, help="share of the players that are checked")
    parser.add_argument("--drain-every-ms", type=int, default=10, help="see fanfare-load play --help")
    parser.add_argument("--over", choices=["rtmp", "http", "ws"], default="rtmp", help="how players watch fanfare")
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

#!/usr/bin/env python3
"""Attacks the relay while honest players watch; see attack.sh."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import compare
import measure
import servers

KINDS = ("slow-handshakes single-bytes random-bytes garbage-behind-an-opening announced-lengths chunk-streams "
         "chunk-sizes pings acknowledgements silent-publishers headers-only vanishing-players deaf-players resets "
         "half-open create-streams plays")
HTTP_KINDS = "slow-requests http-garbage api-flood vanishing-http-players deaf-http-players websocket-garbage"
# The relay may be this much slower for the honest than in quiet.
MOST_SLOWER = 3
# A latency of so little is as good as any: below it a ratio says nothing.
FINE_MS = 30
# What the relay may hold on to: buffers at rest, and pages that the allocator keeps.
KEPT_MB = 16
# Everybody has been let go of within this.
RECOVERS_WITHIN_S = 20


class Relay:
    """The relay under attack, its encoder, and what /proc says of it."""

    def __init__(self, directory: Path):
        port, http_port = measure.free_port(), measure.free_port()
        self.url = f"rtmp://127.0.0.1:{port}/live/load"
        self.http_url = f"http://127.0.0.1:{http_port}/live/load.flv"
        self.directory = directory
        self.log = (directory / "relay.log").open("wb")
        command = ["taskset", "-c", "0", *servers.command('fanfare:api.token="attack-token"', port, directory, http_port)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        measure.wait_until_it_listens(self.process, port, directory / "relay.log")
        publish = [str(servers.LOAD), "--cpu", "1", "publish", self.url, "--seconds", "3600"]
        self.encoder = subprocess.Popen(publish, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        time.sleep(1)

    def resident_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1e3
        raise RuntimeError("the relay is gone")

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def honest(self, players: int, seconds: float) -> subprocess.Popen:
        command = [str(servers.LOAD), "--cpu", "1", "play", self.url, "--players", str(players), "--parse", "0.1",
                   "--settle", "3", "--seconds", str(seconds), "--json", str(self.directory / "honest.json")]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def end(self) -> None:
        for process in (self.encoder, self.process):
            measure.end(process)


def attack(relay: Relay, kind: str, players: int, seconds: float) -> dict:
    """One kind, or `quiet`."""
    before_mb, before_files = relay.resident_mb(), relay.files()
    honest = relay.honest(players, seconds)
    # The attack begins once they are there, and goes on for as long as they are measured.
    time.sleep(players / 500 + 2)
    at_mb, began, began_cpu = 0.0, time.monotonic(), relay.cpu_seconds()
    attacker = None
    if kind != "quiet":
        url = relay.http_url if kind in HTTP_KINDS.split() else relay.url
        command = ["nice", "-n", "5", str(servers.LOAD), "--cpu", "1", "attack", kind, url,
                   "--seconds", str(seconds + 1)]
        attacker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while honest.poll() is None:
        at_mb = max(at_mb, relay.resident_mb())
        time.sleep(0.2)
    cores = (relay.cpu_seconds() - began_cpu) / (time.monotonic() - began)
    did = attacker.communicate(timeout=60)[1].strip().splitlines()[-1] if attacker else ""
    if attacker and attacker.returncode != 0:
        raise RuntimeError(f"{kind}: {did}")
    result = json.loads((relay.directory / "honest.json").read_text())
    until = time.monotonic() + RECOVERS_WITHIN_S
    while time.monotonic() < until and (relay.files() > before_files or relay.resident_mb() > before_mb + KEPT_MB):
        time.sleep(0.2)
    checked = result["checked"]
    return {
        "kind": kind, "did": did, "held": result["held"], "players": players, "cores": cores,
        "lost": checked["gaps"] + checked["skips"] + checked["out_of_order"] + checked["corrupt"],
        "p50_ms": result["steady"]["latency_ms"]["p50"], "p99_ms": result["steady"]["latency_ms"]["p99"],
        "before_mb": before_mb, "at_mb": at_mb, "after_mb": relay.resident_mb(),
        "leaked_files": max(0, relay.files() - before_files),
    }


def faults(found: dict, quiet_p99_ms: float) -> list[str]:
    """What the honest noticed, or the relay did not give back."""
    wrong = []
    if found["held"] != found["players"] or found["lost"]:
        wrong.append(f"{found['players'] - found['held']} honest players and {found['lost']} frames lost")
    if found["p99_ms"] > max(MOST_SLOWER * quiet_p99_ms, FINE_MS):
        wrong.append(f"p99 {found['p99_ms']:.0f} ms, {quiet_p99_ms:.0f} in quiet")
    if found["after_mb"] > found["before_mb"] + KEPT_MB:
        wrong.append(f"{found['after_mb'] - found['before_mb']:.0f} MB kept")
    if found["leaked_files"]:
        wrong.append(f"{found['leaked_files']} descriptors kept")
    return wrong


def table(results: list[dict]) -> str:
    lines = [f"{compare.machine()}, {date.today().isoformat()}. Relay on one core, {results[0]['players']} honest "
             "players of 1 Mbit/s, encoder and attacker on another, loopback.", "",
             "| attack | what the attacker did | frames lost by the honest | their p50 / p99 ms | relay, cores "
             "| memory before / at most / after, MB | descriptors left |",
             "|---|---|---|---|---|---|---|"]
    for it in results:
        lines.append(f"| {it['kind']} | {it['did'] or '–'} | {it['lost']} | {it['p50_ms']:.1f} / {it['p99_ms']:.1f} "
                     f"| {it['cores']:.2f} | {it['before_mb']:.0f} / {it['at_mb']:.0f} / {it['after_mb']:.0f} "
                     f"| {it['leaked_files']} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", default=KINDS.split() + HTTP_KINDS.split(),
                        help=f"default: {KINDS} {HTTP_KINDS}")
    parser.add_argument("--players", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--out", type=Path, default=compare.RESULTS / "attacks.md")
    options = parser.parse_args()
    measure.raise_file_limit()
    results, verdict = [], 0
    with tempfile.TemporaryDirectory(prefix="fanfare-load-") as name:
        relay = Relay(Path(name))
        try:
            # The first run fills what is kept for the next: it is not the one to compare with.
            attack(relay, "quiet", options.players, 1)
            for kind in ["quiet", *options.kinds]:
                found = attack(relay, kind, options.players, options.seconds)
                results.append(found)
                wrong = faults(found, results[0]["p99_ms"])
                verdict |= bool(wrong)
                compare.say(f"{kind:28} p99 {found['p99_ms']:6.1f} ms  {found['cores']:.2f} cores  "
                            f"{found['at_mb']:.0f} MB  {'; '.join(wrong) or 'unnoticed'}  ({found['did']})")
        finally:
            relay.end()
    options.out.write_text(table(results))
    return verdict


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except RuntimeError as error:
        sys.exit(f"attack.py: {error}")

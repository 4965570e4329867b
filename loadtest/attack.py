#!/usr/bin/env python3
"""Attacks the relay while honest players watch; see attack.sh."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import compare
import measure
import newcomer
import servers

# The p99 latency of honest players may be this many times that without an attack.
MAX_SLOWER = 3
# A p99 below this is always good: the ratio of small latencies means nothing.
FINE_MS = 30
# Memory that the relay may still use afterwards: idle buffers, and pages that the allocator keeps.
KEPT_MB = 16
# Memory that an attack may cost, unless the row has a budget of its own.
MAX_GROWN_MB = 128
# Newcomers are answered within this time.
ANSWERS_WITHIN_S = 1
# Memory and descriptors are released within this time.
RECOVERS_WITHIN_S = 15
# The API token; attacks know it as well.
TOKEN = "attack-token"
# Time without an attack at the start of each run, for comparison.
QUIET_S = 3


@dataclass(frozen=True)
class Row:
    """One attack, and the configuration of the relay for it."""

    name: str
    # The kind of attack of fanfare-load; "" for none.
    kind: str = ""
    # Lines of the relay's configuration, separated by commas.
    config: str = ""
    log: str = "warn"
    # The relay's standard error is a pipe that is not read.
    unread_log: bool = False
    # The relay is paused by SIGSTOP for this many seconds.
    stopped_s: float = 0
    grown_mb: float = MAX_GROWN_MB
    # Completed TLS handshakes, 2,000 per second: options of `fanfare-load handshakes`; none for no such attack.
    handshakes: str | None = None
    # The attack uses all the memory that publishers may have.
    fills_budget: bool = False


def of_kinds(kinds: str) -> list[Row]:
    return [Row(kind, kind) for kind in kinds.split()]


HTTP_KINDS = "slow-requests http-garbage api-flood vanishing-http-players deaf-http-players websocket-garbage".split()
TLS_KINDS = "tls-hellos tls-half-handshakes tls-garbage".split()
# A budget that an attack exhausts within seconds.
SMALL = 'limits.memory_budget="64MiB"'
ROWS = [
    *of_kinds("slow-handshakes single-bytes random-bytes garbage-after-connect announced-lengths chunk-streams "
              "chunk-sizes pings acknowledgements silent-publishers headers-only vanishing-players deaf-players resets "
              "half-open create-streams plays"),
    *of_kinds(" ".join(HTTP_KINDS)),
    *of_kinds(" ".join(TLS_KINDS)),
    Row("tls-handshakes", handshakes=""),
    Row("tls-resumptions", handshakes="--resume"),
    *of_kinds("key-frame-copies aggregates amf-references tiny-messages tiny-message-crowd large-flood small-flood "
              "players-without-video pause-storms"),
    Row("publish-storms", "publish-storms", log="info"),
    Row("publishes-in-one-read", "publishes-in-one-read"),
    Row("refused-connections", "refused-connections", log="info"),
    Row("unread-log", "refused-connections", log="info", unread_log=True),
    # Another core may read what the attackers send before what the encoder sent earlier.
    Row("name-thieves", "name-thieves", config="cores=2", stopped_s=4.5),
    Row("one-network", "one-network", config="limits.exempt=[]"),
    *of_kinds("event-floods large-metadata odd-names"),
    *[Row(kind, kind, config=SMALL, grown_mb=80) for kind in
      "unfinished-messages pinned-buffers unread-preambles large-headers still-pictures".split()],
    Row("paused-players", "paused-players", config=SMALL + ',play.stream_buffer="8MiB"', grown_mb=80),
    Row("growing-publishers", "growing-publishers", config=SMALL, fills_budget=True),
    Row("standstill", config='limits.publisher_timeout="3s"', stopped_s=6),
]
KINDS = dict.fromkeys(row.kind for row in ROWS if row.kind)


class Relay:
    """The relay under attack, its encoder, and its figures in /proc."""

    def __init__(self, row: Row, directory: Path):
        self.setup = (row.config, row.log, row.unread_log)
        self.port, self.http_port = measure.free_port(), measure.free_port()
        self.rtmps_port, https_port = measure.free_port(), measure.free_port()
        self.url = f"rtmp://127.0.0.1:{self.port}/live/load"
        self.rtmps_url = f"rtmps://127.0.0.1:{self.rtmps_port}/live/load"
        self.http_url = f"http://127.0.0.1:{self.http_port}/live/load.flv"
        self.directory = directory
        self.log = (directory / "relay.log").open("wb")
        config = ",".join(line for line in (row.config, f'api.token="{TOKEN}"') if line)
        name = f"fanfare:{config}"
        command = ["taskset", "-c", "0", *servers.command(name, self.port, directory, self.http_port,
                                                                self.rtmps_port, https_port)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, env={**os.environ, "FANFARE_LOG": row.log},
            stderr=subprocess.PIPE if row.unread_log else self.log)
        measure.wait_until_it_listens(self.process, self.port, directory / "relay.log")
        publish = [str(servers.LOAD), "--cpu", "1", "publish", self.url, "--seconds", "3600"]
        self.encoder = subprocess.Popen(publish, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=(directory / "encoder.log").open("wb"))
        time.sleep(1)

    def is_running(self) -> bool:
        return self.process.poll() is None and self.encoder.poll() is None

    def resident_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1e3
        return 0

    def files(self) -> int:
        try:
            return len(os.listdir(f"/proc/{self.process.pid}/fd"))
        except OSError:
            return 0

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def unserved_s(self) -> float:
        """The longest time that one of its threads was runnable without a CPU: the machine is to blame for that."""
        longest = 0.0
        for thread in Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            try:
                longest = max(longest, int(thread.read_text().split()[1]) / 1e9)
            except OSError:
                pass
        return longest

    def honest(self, players: int, seconds: float) -> subprocess.Popen:
        command = [str(servers.LOAD), "--cpu", "1", "play", self.url, "--players", str(players), "--parse", "1",
                   "--settle", str(QUIET_S), "--seconds", str(seconds), "--json", str(self.directory / "honest.json")]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def scrape_faults(self) -> list[str]:
        """Series that occur twice, and lines that are not valid."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics?token={TOKEN}", timeout=10) as answer:
            return scrape_faults(answer.read().decode())

    def end(self) -> None:
        measure.end(self.encoder)
        if self.process.stderr:
            # The relay would block on its last log lines if the pipe stayed open unread.
            self.process.stderr.close()
        measure.end(self.process)
        self.log.close()


def scrape_faults(text: str) -> list[str]:
    seen, faults = set(), []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        series = re.fullmatch(r'([a-z_]+(?:\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})?) \S+', line)
        if not series:
            faults.append(f"invalid line in the metrics: {line[:80]}")
        elif series[1] in seen:
            faults.append(f"duplicate series in the metrics: {series[1]}")
        else:
            seen.add(series[1])
    return faults


def attack(relay: Relay, row: Row, players: int, seconds: float) -> dict:
    """Runs one row; without a kind there is no attack."""
    before_mb, before_files = relay.resident_mb(), relay.files()
    seconds += row.stopped_s
    honest = relay.honest(players, seconds)
    # The attack starts and ends with the measurement of the players.
    for line in honest.stderr:
        if b"(starting)" not in line:
            break
    at_mb, began, began_cpu = before_mb, time.monotonic(), relay.cpu_seconds()
    unserved_s, unserved_before_s = 0.0, relay.unserved_s()
    newcomers = newcomer.Newcomers(relay.port, relay.http_port, "load") if not row.stopped_s else None
    publishes, wrong, attacker = newcomer.Waits(), [], None
    if row.kind:
        command = ["nice", "-n", "5", str(servers.LOAD), "--cpu", "1", "attack", row.kind, relay.url,
                   "--http", f"127.0.0.1:{relay.http_port}", "--seconds", str(seconds)]
        if row.kind in HTTP_KINDS:
            command[command.index(relay.url)] = relay.http_url
        if row.kind in TLS_KINDS:
            command[command.index(relay.url)] = relay.rtmps_url
        attacker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if row.handshakes is not None:
        command = ["nice", "-n", "5", str(servers.LOAD), "--cpu", "1", "handshakes", relay.rtmps_url, "--rate", "2000",
                   "--seconds", str(seconds), *row.handshakes.split()]
        attacker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    text=True)
    try:
        if row.stopped_s:
            time.sleep(1)
            relay.process.send_signal(signal.SIGSTOP)
            time.sleep(row.stopped_s)
            relay.process.send_signal(signal.SIGCONT)
        while honest.poll() is None and relay.is_running():
            at_mb = max(at_mb, relay.resident_mb())
            unserved_s = max(unserved_s, relay.unserved_s() - unserved_before_s)
            # Once, towards the end of the attack.
            if not publishes.worst_s and time.monotonic() - began > seconds * 0.7:
                publishes.measure(lambda: newcomer.publish(relay.port, "newcomer"))
                if row.kind == "odd-names":
                    wrong += relay.scrape_faults()
            time.sleep(0.1)
        cores = (relay.cpu_seconds() - began_cpu) / (time.monotonic() - began)
    except (OSError, RuntimeError) as error:
        cores = 0.0
        wrong.append(str(error))
    if newcomers:
        newcomers.end()
    if not relay.is_running():
        relay_died = relay.process.poll() is not None
        wrong.append("the relay died" if relay_died else "the honest encoder was disconnected: "
                     + measure.last_lines(relay.directory / "encoder.log"))
        honest.terminate()
    honest.wait(60)
    did = ""
    if attacker:
        # An attacker fails if the relay has died or was stopped.
        output, errors = attacker.communicate(timeout=60)
        lines = (errors or output).strip().splitlines()
        did = lines[-1] if row.kind else lines[0]
        if attacker.returncode != 0 and relay.is_running():
            raise RuntimeError(f"{row.kind}: {did}")
    result = json.loads((relay.directory / "honest.json").read_text())
    until = time.monotonic() + RECOVERS_WITHIN_S
    while relay.is_running() and time.monotonic() < until and (
            relay.files() > before_files or relay.resident_mb() > before_mb + KEPT_MB):
        time.sleep(0.1)
    checked, delivery, latency = result["checked"], result["delivery"], result["steady"]["latency_ms"]
    found = {
        "name": row.name, "did": did, "held": result["held"], "players": players, "cores": cores,
        "unserved": unserved_s / (time.monotonic() - began),
        "lost": checked["gaps"] + checked["skips"] + checked["out_of_order"] + checked["corrupt"],
        "never": delivery["frames"]["never"], "share": delivery["share"], "stalled": delivery["stalled_players"],
        "wait_ms": delivery["longest_wait_ms"]["max"], "p50_ms": latency["p50"], "p99_ms": latency["p99"],
        "quiet_p99_ms": result["settling_latency_ms"]["p99"],
        "rtmp": newcomers.rtmp if newcomers else newcomer.Waits(),
        "http": newcomers.http if newcomers else newcomer.Waits(), "publishes": publishes,
        "before_mb": before_mb, "at_mb": at_mb,
        "after_mb": relay.resident_mb() if relay.process.poll() is None else 0,
        "leaked_files": max(0, relay.files() - before_files),
    }
    found["wrong"] = wrong + faults(found, row)
    return found


def faults(found: dict, row: Row) -> list[str]:
    """What honest players or newcomers noticed, and what the relay did not release."""
    wrong = []
    if found["held"] != found["players"]:
        wrong.append(f"{found['players'] - found['held']} honest players disconnected")
    if found["lost"]:
        wrong.append(f"frames lost {found['lost']} times")
    if found["never"]:
        wrong.append(f"{found['never']} frames never arrived")
    # While a relay is paused nothing arrives, and everything arrives afterwards.
    if not row.stopped_s:
        if found["stalled"] and not found["lost"] + found["never"]:
            wrong.append(f"{found['stalled']} players waited, up to {found['wait_ms']:.0f} ms")
        if found["p99_ms"] > max(MAX_SLOWER * found["quiet_p99_ms"], FINE_MS):
            wrong.append(f"p99 {found['p99_ms']:.0f} ms, {found['quiet_p99_ms']:.0f} without the attack")
    for kind in ("rtmp", "http"):
        if found[kind].failed or found[kind].worst_s > ANSWERS_WITHIN_S:
            wrong.append(f"newcomers over {kind.upper()} waited {found[kind].text()} ms")
    if found["publishes"].failed and not row.fills_budget:
        wrong.append(f"a new encoder was refused: {found['publishes'].failed[0]}")
    if found["at_mb"] > found["before_mb"] + row.grown_mb:
        wrong.append(f"memory grew by {found['at_mb'] - found['before_mb']:.0f} MB")
    if found["after_mb"] > found["before_mb"] + KEPT_MB:
        wrong.append(f"{found['after_mb'] - found['before_mb']:.0f} MB not released")
    if found["leaked_files"]:
        wrong.append(f"{found['leaked_files']} descriptors not released")
    return wrong


def table(results: list[dict]) -> str:
    lines = [f"{compare.machine()}, {date.today().isoformat()}. Relay on one core, {results[0]['players']} honest "
             "players of 1 Mbit/s, encoder and attacker on another, loopback. Latency and its ratio to the quiet "
             f"{QUIET_S} s before the attack, in the same run.", "",
             "| attack | what the attacker did | delivered in time | longest wait, ms | p50 / p99 ms | × quiet "
             "| newcomers waited, RTMP / HTTP, ms | relay: cores used / share of time without a CPU "
             "| memory before / peak / after, MB "
             "| failures |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for it in results:
        slower = it["p99_ms"] / it["quiet_p99_ms"] if it["quiet_p99_ms"] else 0
        lines.append(f"| {it['name']} | {it['did'] or '–'} | {it['share']:.4f} | {it['wait_ms']:.0f} "
                     f"| {it['p50_ms']:.1f} / {it['p99_ms']:.1f} | {slower:.1f} "
                     f"| {it['rtmp'].text()} / {it['http'].text()} | {it['cores']:.2f} / {it['unserved']:.0%} "
                     f"| {it['before_mb']:.0f} / {it['at_mb']:.0f} / {it['after_mb']:.0f} "
                     f"| {'; '.join(it['wrong']).replace('|', '/') or '–'} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    names = {row.name: row for row in ROWS}
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"default: quiet {' '.join(names)}")
    parser.add_argument("--players", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5, help="length of each attack")
    parser.add_argument("--out", type=Path, default=compare.RESULTS / "attacks.md")
    options = parser.parse_args()
    unknown = [name for name in options.rows if name not in names]
    if unknown:
        parser.error(f"no such row: {' '.join(unknown)}")
    measure.raise_file_limit()
    results, verdict, relay, begun = [], 0, None, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fanfare-load-") as directory:
        try:
            for row in [Row("quiet"), *(names[name] for name in options.rows or names)]:
                if not relay or relay.setup != (row.config, row.log, row.unread_log):
                    if relay:
                        relay.end()
                    relay = Relay(row, Path(directory))
                    # The first run fills caches and pools, so it is no reference for memory.
                    attack(relay, Row("warm"), options.players, 0.5)
                found = attack(relay, row, options.players, options.seconds)
                results.append(found)
                verdict |= bool(found["wrong"])
                compare.say(f"{row.name:26} delivered {found['share']:.4f}  p99 {found['p99_ms']:6.1f} ms "
                            f"({found['quiet_p99_ms']:.1f})  newcomers {found['rtmp'].text()} / {found['http'].text()} ms"
                            f"  {found['cores']:.2f} cores, without a CPU {found['unserved']:.0%}  {found['at_mb']:.0f} MB  "
                            f"{'; '.join(found['wrong']) or 'passed'}  ({found['did']})")
                options.out.write_text(table(results))
                if found["wrong"]:
                    # The next row gets a fresh relay, so that it does not suffer from this one.
                    relay.end()
                    relay = None
        finally:
            if relay:
                relay.end()
    compare.say(f"took {(time.monotonic() - begun) / 60:.1f} minutes")
    return verdict


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except RuntimeError as error:
        sys.exit(f"attack.py: {error}")

#!/usr/bin/env python3
"""Measures what TLS costs beside plain connections, in rounds of alternating runs on the same CPU.

    ./tls.sh                                  every row, three rounds: half an hour
    ./tls.sh --quick                          one round of short runs
    ./tls.sh --rows 500x1M,handshakes         some rows
    ./tls.sh --list                           the rows
    ./tls.sh --draw                           the tables from results/tls.json, without a measurement
    sudo chrt --rr 10 ./tls.sh                on a machine that does other work: everything measured goes first

Figures are medians over the rounds; ratios are made within a round. Rows that are not measured now are kept. Writes
results/tls.json and results/tls.md.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from dataclasses import replace
from datetime import date

import compare
import measure
import servers
from measure import Load

RESULTS = servers.HERE / "results"
# The goal: TLS takes at most so many times what plain takes, and what the cipher alone takes.
GOAL = 1.5
# Runs of one round: a server, and how its players watch.
WAYS = [("fanfare", "rtmp"), ("fanfare", "rtmps"), ("fanfare", "https"), ("bare:10", "rtmp"), ("bare:10", "rtmps"),
        ("nginx-tls", "rtmps")]
PLAYERS = {"500x1M": Load(players=500, bitrate="1M", parse=0.04), "2000x600k": Load(players=2000, bitrate="600k")}
HELD = Load(players=5000, bitrate="600k", seconds=30)
WATCHERS = Load(players=500, bitrate="1M", seconds=20, parse=0.1)
PUBLISHERS = Load(players=0, streams=200, bitrate="2M")
# Handshakes per second beside watchers.
STORM = 2000
ROWS = {
    "500x1M": "500 players × 1 Mbit/s: CPU per byte",
    "2000x600k": "2,000 players × 600 kbit/s: CPU per byte",
    "held": "5,000 players × 600 kbit/s on one core",
    "handshakes": "handshakes per CPU-second, full and resumed",
    "storm": f"500 watchers while {STORM} handshakes per second arrive",
    "publishers": "200 publishers × 2 Mbit/s",
    "cipher": "what AES-128-GCM alone costs",
}


def measure_row(row: str, seconds: float) -> list[dict]:
    """One round of a row: a run for each of its lines."""
    if row in PLAYERS:
        load = replace(PLAYERS[row], seconds=seconds)
        return [run(server, replace(load, over=over)) for server, over in WAYS]
    if row == "held":
        load = replace(HELD, seconds=max(seconds, 5))
        return [run("fanfare", replace(load, over=over)) for over in ("rtmp", "rtmps", "https")]
    if row == "publishers":
        load = replace(PUBLISHERS, seconds=seconds)
        return [run("fanfare", replace(load, publish_over=over)) for over in ("rtmp", "rtmps")]
    if row == "handshakes":
        load = Load(players=0, bitrate="1M", over="rtmps", seconds=seconds)
        return [handshakes(load, over, kind) for over in ("rtmps", "https") for kind in ("full", "resumed")]
    if row == "storm":
        load = replace(WATCHERS, seconds=seconds, over="rtmps")
        return [storm(load, kind) for kind in ("quiet", "full", "resumed")]
    return [{"line": f"{size} bytes", "ms_per_mb": cipher_ms_per_mb(size)} for size in (1024, 2800, 16384)]


def run(server: str, load: Load) -> dict:
    found = measure.measure(server, load)
    over = load.over if load.players else load.publish_over
    return {"line": f"{server} {over}", "ms_per_mb": 1000 / found["mb_per_cpu_second"], **found}


def handshakes(load: Load, over: str, kind: str) -> dict:
    """As many as there are time for: the load generator shares none of the server's CPU."""
    found = measure.with_server("fanfare", load, lambda it: shake_hands(it, over, kind, 3000, load.seconds))
    return {"line": f"{over} {kind}", **found}


def storm(load: Load, kind: str) -> dict:
    def work(it: measure.Run) -> dict:
        with it.publishing(load, "load", measure.longest_s(load)):
            players = it.play("load", load)
            it.wait_until_steady(players, "load")
            shaken = {}
            if kind != "quiet":
                # They share a CPU with the watchers, who are not to wait for it.
                shaken = shake_hands(it, "rtmps", kind, STORM, load.seconds - 2, by=below())
            result = it.result(players, "load")
        found = measure.figures("fanfare", load, result, it.sent("load"), 0)
        return {**found, "handshakes_per_second": shaken.get("handshakes_per_second", 0),
                "took_p99_ms": shaken.get("took_p99_ms", 0), "failed": shaken.get("failed", 0)}
    return {"line": kind, **measure.with_server("fanfare", load, work)}


def below() -> tuple[str, ...]:
    """Runs a command at a lower priority than this process has."""
    return ("chrt", "--rr", "1") if os.sched_getscheduler(0) == os.SCHED_RR else ("nice", "-n", "10")


def shake_hands(it: measure.Run, over: str, kind: str, rate: int, seconds: float, by: tuple[str, ...] = ()) -> dict:
    result = it.directory / "handshakes.json"
    command = [*by, *it.on_load_cpu(), "handshakes", it.url("load", over), "--rate", str(rate), "--seconds", str(seconds),
               "--at-once", "200", "--server-pid", str(it.server_pid), "--json", str(result)]
    command += ["--resume"] if kind == "resumed" else []
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = json.loads(result.read_text())
    return {"server": "fanfare", "handshakes_per_second": found["per_second"], "resumed": found["resumed"],
            "done": found["done"], "failed": found["failed"], "took_p50_ms": found["took_ms"]["p50"],
            "took_p99_ms": found["took_ms"]["p99"], "cores": found["server"]["cores"],
            "per_cpu_second": found["per_cpu_second"], "load_cores": found["load_cores"], "sent_late_p99_ms": 0,
            "load_is_bottleneck": False}


def cipher_ms_per_mb(size: int) -> float:
    """CPU time of the cipher alone, by OpenSSL on the relay's CPU, milliseconds per 10^6 bytes."""
    command = ["taskset", "-c", "0", "openssl", "speed", "-mr", "-seconds", "1", "-bytes", str(size), "-evp", "aes-128-gcm"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # "+F:22:AES-128-GCM:3301343232.00": bytes per second of CPU time.
    found = re.search(r"^\+F:\d+:AES-128-GCM:(.+)$", text, re.MULTILINE | re.IGNORECASE)
    return 1e9 / float(found[1])


def median(rounds: list[list[dict]], line: str, name: str) -> float:
    return statistics.median(value(run, name) for lines in rounds for run in lines if run["line"] == line)


def value(run: dict, name: str) -> float:
    return run.get(name) or 0


def ratio(rounds: list[list[dict]], line: str, of: str, name: str) -> float:
    """The median of the ratios within rounds."""
    pairs = [{run["line"]: value(run, name) for run in lines} for lines in rounds]
    ratios = [pair[line] / pair[of] for pair in pairs if pair.get(of) and line in pair]
    return statistics.median(ratios) if ratios else 0


def lines_of(rounds: list[list[dict]]) -> list[str]:
    return [run["line"] for run in rounds[0]]


def table(head: list[str], rows: list[list]) -> list[str]:
    cells = [head, ["---"] * len(head), *[[str(cell) for cell in row] for row in rows]]
    return ["| " + " | ".join(row) + " |" for row in cells] + [""]


def draw(rows: dict) -> str:
    out = ["# What TLS costs", "",
           f"Written by `./tls.sh` on {rows['date']}: {rows['machine']}. The relay on one CPU, encoders and players on the",
           "other, loopback, TLS 1.3, AES-128-GCM, a certificate of ECDSA P-256. Medians over alternating runs; ratios are made",
           "within a round. `bare:10` is a `send()` loop that gathers for 10 ms, over TLS with rustls' buffered interface;",
           "`nginx-tls` is nginx `stream` with `ssl` in front of fanfare, both on the relay's CPU and counted together.", ""]
    if rows.get("note"):
        out += [rows["note"], ""]
    cipher = rows.get("cipher")
    for name, title in ROWS.items():
        if name in rows:
            out += [f"## {title[0].upper()}{title[1:]}", "", f"`./tls.sh --rows {name}`, rounds: {len(rows[name])}.", "",
                    *of_row(name, rows[name], cipher)]
    return "\n".join(out).rstrip() + "\n"


def of_row(name: str, rounds: list[list[dict]], cipher: list | None) -> list[str]:
    lines = lines_of(rounds)

    def of(line: str, figure: str, digits: int = 1) -> str:
        return f"{median(rounds, line, figure):.{digits}f}"

    if name in PLAYERS:
        out = table(["server, players over", "CPU ms per MB", "of plain", "p50 / p99 ms", "cores", "delivered", "MB resident"], [
            [line, of(line, "ms_per_mb", 2), f"{ratio(rounds, line, plain_of(line), 'ms_per_mb'):.2f}",
             f"{of(line, 'p50_ms')} / {of(line, 'p99_ms')}", of(line, "cores", 2), of(line, "share_delivered", 3),
             of(line, "resident_mb")] for line in lines])
        if cipher:
            out += goal(rounds, median(cipher, "2800 bytes", "ms_per_mb"))
        return out
    if name == "held":
        return table(["players over", "held", "gaps", "never arrived", "stalled", "cores", "p50 / p99 ms", "kB per player"], [
            [line, of(line, "held", 0), of(line, "gaps", 0), of(line, "never", 0), of(line, "stalled_players", 0),
             of(line, "cores", 2), f"{of(line, 'p50_ms')} / {of(line, 'p99_ms')}", of(line, "resident_kb_per_player")]
            for line in lines])
    if name == "publishers":
        return table(["publishers over", "CPU ms per MB", "of plain", "cores", "held", "pending MB"], [
            [line, of(line, "ms_per_mb", 2), f"{ratio(rounds, line, plain_of(line), 'ms_per_mb'):.2f}", of(line, "cores", 2),
             of(line, "held", 0), of(line, "pending_mb")] for line in lines])
    if name == "handshakes":
        return table(["over", "per CPU-second of the relay", "µs each", "arrived per second", "resumed", "p50 / p99 ms",
                      "relay's cores", "load generator's cores"], [
            [line, of(line, "per_cpu_second", 0), f"{1e6 / max(1, median(rounds, line, 'per_cpu_second')):.0f}",
             of(line, "handshakes_per_second", 0), of(line, "resumed", 0),
             f"{of(line, 'took_p50_ms')} / {of(line, 'took_p99_ms')}", of(line, "cores", 2), of(line, "load_cores", 2)]
            for line in lines])
    if name == "storm":
        return table(["handshakes", "per second", "theirs p99 ms", "failed", "watchers' p50 / p99 ms", "p99 of quiet", "gaps",
                      "relay's cores"], [
            [line, of(line, "handshakes_per_second", 0), of(line, "took_p99_ms"), of(line, "failed", 0),
             f"{of(line, 'p50_ms')} / {of(line, 'p99_ms')}", f"{ratio(rounds, line, 'quiet', 'p99_ms'):.2f}",
             of(line, "gaps", 0), of(line, "cores", 2)] for line in lines])
    return table(["record", "CPU ms per MB"], [[line, of(line, "ms_per_mb", 3)] for line in lines])


def plain_of(line: str) -> str:
    server = line.split(" ")[0]
    return f"{'fanfare' if server == 'nginx-tls' else server} rtmp"


def goal(rounds: list[list[dict]], cipher_ms: float) -> list[str]:
    plain = median(rounds, "fanfare rtmp", "ms_per_mb")
    most = GOAL * plain + cipher_ms
    found = median(rounds, "fanfare rtmps", "ms_per_mb")
    verdict = "met" if found <= most else "NOT met"
    return [f"The goal is {GOAL} × plain + the cipher alone (records of 2,800 bytes) = {most:.2f} ms per MB; "
            f"RTMPS takes {found:.2f}: {verdict}.", ""]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help="which, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="length of each run")
    parser.add_argument("--quick", action="store_true", help="one round of 3 s")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--note", default="", help="a sentence for the page, such as what else the machine did")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name:12} {title}" for name, title in ROWS.items()))
        return 0
    if options.quick:
        options.rounds, options.seconds = 1, 3
    wanted = options.rows.split(",")
    if unknown := set(wanted) - set(ROWS):
        parser.error(f"unknown rows: {', '.join(unknown)}")
    measure.raise_file_limit()
    path = RESULTS / "tls.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    if options.note:
        rows["note"] = options.note
    if not options.draw:
        rows |= {"date": date.today().isoformat(), "machine": compare.machine()}
        measured = {name: [] for name in wanted}
        for number in range(options.rounds):
            for name in wanted:
                print(f"tls: round {number + 1}, {name}", file=sys.stderr, flush=True)
                try:
                    measured[name].append(measure_row(name, options.seconds))
                except (RuntimeError, servers.Missing, subprocess.SubprocessError) as error:
                    print(f"tls: {name}: {error}", file=sys.stderr, flush=True)
            rows |= {name: rounds for name, rounds in measured.items() if rounds}
            path.write_text(json.dumps(rows, indent=1) + "\n")
    (RESULTS / "tls.md").write_text(draw(rows))
    print(draw(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

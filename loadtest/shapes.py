#!/usr/bin/env python3
"""Measures servers under many shapes of load: publishers that nobody plays, many streams with few players each, few streams
with many, and streams next to one that takes far more than its share.

    ./shapes.sh                                       every row with every server, five rounds: about three hours
    ./shapes.sh --quick                               one round of short runs
    ./shapes.sh --rows 500x2 --servers fanfare        one row, one server
    ./shapes.sh --rows publishers,200x10 --servers fanfare,nginx-rtmp --rounds 3 --seconds 8
    ./shapes.sh --list                                the rows, and the command of each
    ./shapes.sh --draw                                the tables from results/shapes.json, without a measurement

Rounds are interleaved: each round runs every server under a row's load before the next round begins, so that changes of the
machine affect all of them alike. Figures are medians over the rounds; ratios to another server are made within a round. A
server that is not installed is skipped, and the tables say how to install it. Runs in which the load generator was the
bottleneck are marked with "!", and are not the server's figures. Rows that are not measured now are kept, if they are from
this machine. Writes shapes.json (every run) and shapes.md (the tables) to results/.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import compare
import measure
import servers

SERVERS = "fanfare,nginx-rtmp,node-media-server"
RECEIVE_LOOPS = ["receive:0", "receive:3", "receive:10", "receive:25"]
# What servers are compared with.
RIVAL = "nginx-rtmp"
# A line of fanfare's configuration: with its default it would end the flood of small messages within seconds.
ALLOWS_FLOODS = "limits.messages_per_second=0"
# What `fanfare capacity` predicts, measured like a server.
CAPACITY = "fanfare capacity"
# The search for the most publishers or players: the factor to the next attempt, and how exact the answer is.
FACTOR = 1.3
EXACT_TO = 0.04
MAX_CLIENTS = 16_000
# Players of the streams next to a very large one.
SMALL = measure.Load(players=400, streams=200, bitrate="300k", parse=0.25)
LARGE = measure.Load(players=9000, streams=1, bitrate="600k", ramp=2000, parse=0)


@dataclass(frozen=True)
class Row:
    """One shape of load."""

    name: str
    title: str
    # What it is measured with: see KINDS.
    kind: str
    load: measure.Load
    # Baselines that are measured as well, and whether only they are.
    baselines: tuple[str, ...] = ()
    only_baselines: bool = False
    # What a search raises, from its number in the load on: "streams" or "players".
    searched: str = ""


ROWS = [
    Row("publishers", "800 publishers × 600 kbit/s, no players", "publishers",
        measure.Load(players=0, streams=800, bitrate="600k"), ("receive:0", "receive:10")),
    Row("500x2", "500 streams × 2 players × 1 Mbit/s", "players",
        measure.Load(players=1000, streams=500, bitrate="1M")),
    Row("200x10", "200 streams × 10 players × 1 Mbit/s", "players",
        measure.Load(players=2000, streams=200, bitrate="1M")),
    Row("1x200", "1 stream × 200 players × 8 Mbit/s", "players",
        measure.Load(players=200, streams=1, bitrate="8M", parse=0.05), ("bare:0",)),
    Row("most-publishers", "Most publishers of 600 kbit/s on one core", "search",
        measure.Load(players=10, streams=800, bitrate="600k", parse=1), (CAPACITY,), searched="streams"),
    Row("most-publishers-2M", "Most publishers of 2 Mbit/s on one core", "search",
        measure.Load(players=10, streams=400, bitrate="2M", parse=1), (CAPACITY,), searched="streams"),
    Row("most-players", "Most players of one stream of 600 kbit/s on one core", "search",
        measure.Load(players=4000, bitrate="600k", ramp=2000), (CAPACITY,), searched="players"),
    Row("most-players-2M", "Most players of one stream of 2 Mbit/s on one core", "search",
        measure.Load(players=1500, bitrate="2M", ramp=2000), (CAPACITY,), searched="players"),
    Row("large-flood", "500 players × 1 Mbit/s while another publisher sends 500 Mbit/s", "fairness",
        measure.Load(players=500, bitrate="1M", parse=0.1)),
    Row("small-flood", "500 players × 1 Mbit/s while another publisher sends 100,000 messages per second", "fairness",
        measure.Load(players=500, bitrate="1M", parse=0.1)),
    Row("large-beside-small", "200 streams × 2 players × 300 kbit/s beside one stream × 9,000 players × 600 kbit/s",
        "fairness", SMALL),
    Row("receiving", "800 publishers × 600 kbit/s, received and thrown away: by the time of rest", "publishers",
        measure.Load(players=0, streams=800, bitrate="600k"), tuple(RECEIVE_LOOPS), only_baselines=True),
]


def measure_row(name: str, row: Row, load: measure.Load) -> dict:
    """One run of a row with a server."""
    if name == CAPACITY:
        return predicted(row, load)
    if row.kind == "search":
        first = getattr(load, row.searched)
        return most(first, lambda number: measure.measure(name, replace(load, **{row.searched: number})))
    if row.kind == "fairness":
        if row.name == "large-beside-small":
            return measure.with_server(name, load, large_beside_small)
        name = f"{name}:{ALLOWS_FLOODS}" if name == "fanfare" else name
        return measure.with_server(name, load, lambda run: flood(run, row.name))
    return measure.measure(name, load)


def most(first: int, attempt: Callable[[int], dict]) -> dict:
    """The largest number of publishers or players whose frames all arrive, from the first number on in steps, then by
    bisection. `attempt` measures one number of them."""
    carried, refused, best, limit = 0, None, {}, ""
    number = first
    while 10 <= number <= MAX_CLIENTS:
        try:
            outcome = attempt(number)
        except (RuntimeError, subprocess.SubprocessError) as error:
            outcome = {"failed": str(error)}
        is_carried = carries(outcome)
        say(f"    {number}: {'carried' if is_carried else 'NOT carried'}; {in_short(outcome)}")
        if outcome.get("load_is_bottleneck"):
            # More would only measure the load generator.
            limit = "the load generator's"
            break
        if is_carried:
            carried, best = number, outcome
        else:
            refused = number
        if refused is None:
            number = int(carried * FACTOR)
        elif carried == 0:
            number = int(refused / FACTOR)
        elif refused - carried > EXACT_TO * carried:
            number = (carried + refused) // 2
        else:
            break
    if refused is None and not limit:
        limit = f"of this search, {MAX_CLIENTS}"
    return {**best, "most": carried, "limit": limit, "load_is_bottleneck": limit == "the load generator's"}


def predicted(row: Row, load: measure.Load) -> dict:
    """What `fanfare capacity` says instead of a search."""
    command = [servers.need(servers.RELAY), "capacity", "--bitrate", load.bitrate, "--seconds",
               str(max(1, round(3 * load.seconds))), "--json"]
    answer = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    found = answer["publishers" if row.searched == "streams" else "players"]
    limit = "other programs disturbed it" if answer["is_disturbed"] else ""
    return {"most": found, "limit": limit, "load_is_bottleneck": answer["is_disturbed"]}


def carries(outcome: dict) -> bool:
    """Whether all publishers and players stayed, and every frame arrived in time."""
    if "failed" in outcome or outcome["pending_mb"] > 0:
        return False
    lost = sum(outcome[key] for key in ("gaps", "skips", "never", "out_of_order", "corrupt", "stalled_players",
                                        "connect_failures", "disconnects"))
    return lost == 0 and outcome["held"] == outcome["players"]


def flood(run: measure.Run, kind: str) -> dict:
    """Latency of honest players before and while another publisher sends far more than they receive."""
    load = run.load
    with run.publishing(load, "load", measure.longest_s(load)):
        players = run.play("load", load, settle_s=load.seconds)
        run.wait_until_steady(players, "load")
        attack = [*run.on_load_cpu(), "attack", kind, run.url(), "--seconds", str(load.seconds)]
        flooding = subprocess.run(attack, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  text=True, timeout=load.seconds + 60, check=False)
        result = run.result(players, "load")
    did = (flooding.stderr.strip().splitlines() or ["nothing"])[-1]
    return fairness(run, "load", result, result["settling_latency_ms"]["p99"], did)


def large_beside_small(run: measure.Run) -> dict:
    """Latency of many small streams, alone and beside one with thousands of players."""
    load, large = run.load, replace(LARGE, seconds=3 * run.load.seconds + 30)
    longest_s = measure.longest_s(large)
    with run.publishing(load, "small", longest_s), run.publishing(large, "large", longest_s):
        alone = run.result(run.play("small", load), "small")
        # The players of the large stream run only when nothing else on their CPU wants to: the small ones' latency is
        # the server's, not that of a load generator that waits for itself.
        crowd = run.play("large", large, by=("chrt", "--idle", "0"))
        run.wait_until_steady(crowd, "large")
        beside = run.result(run.play("small", load), "small")
        measure.end(crowd)
        watched = run.result(crowd, "large")
    did = f"{watched['held']} of {watched['players']} players held, {watched['checked']['gaps']} gaps"
    return fairness(run, "small", beside, alone["steady"]["latency_ms"]["p99"], did)


def fairness(run: measure.Run, key: str, result: dict, quiet_p99_ms: float, did: str) -> dict:
    outcome = measure.figures(run.server, run.load, result, run.sent(key), 0)
    # Without a frame there is no latency.
    slower = {"slower": round(outcome["p99_ms"] / quiet_p99_ms, 3)} if outcome["frames"] and quiet_p99_ms else {}
    return {**outcome, "quiet_p99_ms": quiet_p99_ms, **slower, "did": did}


def say(text: str) -> None:
    compare.say(text)


def in_short(outcome: dict) -> str:
    """A run in a line."""
    if "failed" in outcome:
        return f"failed: {outcome['failed']}"
    parts = [("most", "at most {}"), ("mb_per_cpu_second", "{:.0f} MB/CPU-s"), ("cores", "{:.2f} cores"),
             ("p50_ms", "p50 {:.1f}"), ("p99_ms", "p99 {:.1f} ms"), ("quiet_p99_ms", "quiet {:.1f} ms"),
             ("resident_mb", "{:.0f} MB"), ("load_cores", "load generator {:.2f} cores"), ("did", "({})")]
    text = "  ".join(form.format(outcome[key]) for key, form in parts if key in outcome)
    return text + ("  THE LOAD GENERATOR IS THE BOTTLENECK" if outcome.get("load_is_bottleneck") else "")


def run(options: argparse.Namespace, results: dict, save: Callable[[], None]) -> None:
    """Runs all measurements; calls `save` after each."""
    for row in options.rows:
        names = [] if row.only_baselines else options.servers
        load = replace(row.load, seconds=options.seconds, beat_ms=options.beat_ms)
        for number in range(options.rounds):
            for name in [*names, *row.baselines]:
                if name in results["missing"]:
                    continue
                try:
                    outcome = measure_row(name, row, load)
                except servers.Missing as missing:
                    results["missing"][name] = str(missing)
                    say(f"skipped: {missing}")
                    continue
                except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                    outcome = {"failed": str(error)}
                say(f"{row.name:18} round {number + 1}  {name:18} {in_short(outcome)}")
                results["runs"].append({"row": row.name, "round": number, **outcome, "server": name})
                save()


def ratio(runs: list[dict], name: str, other: str, key: str) -> float | None:
    """The median ratio of a server's figure to another's of the same round."""
    found = []
    for own in (run for run in runs if run["server"] == name):
        for its in (run for run in runs if run["server"] == other and run["round"] == own["round"]):
            if key in own and its.get(key):
                found.append(own[key] / its[key])
    return statistics.median(found) if found else None


def tables(results: dict) -> str:
    """One Markdown table per row, and what was skipped."""
    lines = [f"{results['machine']}, {results['date']}. Server on one core, load generator on another, loopback; medians of "
             f"{results['rounds']} interleaved rounds of {results['seconds']:.0f} s; "
             f"{writes(results.get('beat_ms', 0))} per write. `!`: the load generator was the "
             "bottleneck, so the figures are not the server's. MB held: what the streams' logs hold, as the server reports it.",
             ""]
    for row in ROWS:
        runs = [run for run in results["runs"] if run["row"] == row.name]
        if not runs:
            continue
        columns = KINDS[row.kind]
        lines += [f"### {row.title}", "", f"`{command(row)}`", "",
                  "| server | " + " | ".join(title for title, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for name in dict.fromkeys(run["server"] for run in runs):
            lines.append(line(name, runs, columns))
        lines.append("")
    lines += [f"Skipped: {reason}  " for reason in results["missing"].values()]
    return "\n".join(lines).rstrip() + "\n"


def writes(beat_ms: int) -> str:
    return f"{beat_ms} ms of a stream" if beat_ms else "a message"


def line(name: str, runs: list[dict], columns: list) -> str:
    own = [run for run in runs if run["server"] == name]
    good = [run for run in own if "failed" not in run]
    mark = " !" if any(run.get("load_is_bottleneck") for run in good) else ""
    if len(good) < len(own):
        mark += f" ({len(own) - len(good)} of {len(own)} rounds failed: {own[-1].get('failed', good and 'earlier')})"
    cells = [cell(good, [run for run in runs if "failed" not in run], name) if good else "" for _, cell in columns]
    return f"| {name}{mark} | " + " | ".join(cells) + " |"


def median(key: str, digits: int) -> Callable:
    def cell(own: list[dict], _all: list[dict], _name: str) -> str:
        values = [run[key] for run in own if key in run]
        return f"{statistics.median(values):.{digits}f}" if values else "–"
    return cell


def pair(first: str, second: str, digits: int = 1) -> Callable:
    return lambda *of: f"{median(first, digits)(*of)} / {median(second, digits)(*of)}"


def total(*keys: str) -> Callable:
    return lambda own, _all, _name: str(sum(run.get(key, 0) for run in own for key in keys))


def of(other: str, key: str) -> Callable:
    def cell(_own: list[dict], runs: list[dict], name: str) -> str:
        found = ratio(runs, name, other, key)
        return f"{found:.2f}" if found is not None else "–"
    return cell


def text(key: str) -> Callable:
    return lambda own, _all, _name: str(own[-1].get(key, "")).replace("|", "/") or "–"


LOST = ("frames lost", total("gaps", "skips", "never", "out_of_order", "corrupt"))
LOAD = ("load generator, cores", median("load_cores", 2))
# The columns of each kind of row.
KINDS = {
    "publishers": [
        ("cores", median("cores", 3)), (f"of {RIVAL}'s", of(RIVAL, "cores")),
        ("of the bare receive loop's", of("receive:0", "cores")), ("memory MB", median("resident_mb", 0)),
        ("MB held", median("held_mb", 0)), ("frames per second", median("frames_per_second", 0)),
        ("sent late p99 ms", median("sent_late_p99_ms", 1)), LOAD],
    "players": [
        ("MB per CPU-second", median("mb_per_cpu_second", 0)), (f"of {RIVAL}'s", of(RIVAL, "mb_per_cpu_second")),
        ("cores", median("cores", 2)), ("p50 / p99 ms", pair("p50_ms", "p99_ms")),
        ("memory MB", median("resident_mb", 0)), ("MB held", median("held_mb", 0)),
        ("players held", median("held", 0)), ("delivered in time", median("share_delivered", 2)), LOST, LOAD],
    "search": [
        ("most", median("most", 0)), (f"of {RIVAL}'s", of(RIVAL, "most")), (f"of `{CAPACITY}`'s", of(CAPACITY, "most")),
        ("limit other than the server's", text("limit")), ("cores at that", median("cores", 2)),
        ("p50 / p99 ms", pair("p50_ms", "p99_ms")), ("memory MB", median("resident_mb", 0)), LOAD],
    "fairness": [
        ("p99 ms quiet / beside", pair("quiet_p99_ms", "p99_ms")), ("×", median("slower", 2)),
        ("players held", median("held", 0)), LOST,
        ("stalled", total("stalled_players")), ("cores", median("cores", 2)), ("the other one", text("did")), LOAD],
}


def command(row: Row) -> str:
    """The command that measures this row alone."""
    return f"./shapes.sh --rows {row.name}"


def kept(path: Path, rows: list[Row], names: list[str]) -> list[dict]:
    """Results of an earlier measurement on this machine that are not measured now."""
    if not path.exists():
        return []
    before = json.loads(path.read_text())
    if before["machine"] != compare.machine():
        return []
    now = {(row.name, name) for row in rows for name in [*([] if row.only_baselines else names), *row.baselines]}
    return [run for run in before["runs"] if (run["row"], run["server"]) not in now]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    by_name = {row.name: row for row in ROWS}
    parser.add_argument("--rows", default=",".join(by_name), help=f"default: {','.join(by_name)}")
    parser.add_argument("--servers", default=SERVERS, help=f"default: {SERVERS}; also {', '.join(servers.PEERS)}")
    parser.add_argument("--xiu", action="store_true", help="include xiu, which must be installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="length of each measurement")
    parser.add_argument("--beat-ms", type=int, default=0, help="see fanfare-load publish --help")
    parser.add_argument("--out", type=Path, default=compare.RESULTS)
    parser.add_argument("--quick", action="store_true", help="one round of 4 s")
    parser.add_argument("--list", action="store_true", help="list the rows")
    parser.add_argument("--draw", action="store_true", help="write the tables of earlier results, without a measurement")
    options = parser.parse_args()
    unknown = [name for name in options.rows.split(",") if name not in by_name]
    if unknown:
        parser.error(f"no such row: {' '.join(unknown)}")
    options.rows = [by_name[name] for name in options.rows.split(",")]
    options.servers = [name for name in options.servers.split(",") if name] + (["xiu"] if options.xiu else [])
    if options.list:
        for row in options.rows:
            print(f"{row.name:20} {row.title}\n{'':20} {command(row)}")
        return 0
    if options.quick:
        options.rounds, options.seconds = 1, 4
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "shapes.json"
    if options.draw:
        results = json.loads(path.read_text())
    else:
        measure.raise_file_limit()
        results = {"machine": compare.machine(), "date": date.today().isoformat(), "rounds": options.rounds,
                   "seconds": options.seconds, "beat_ms": options.beat_ms, "missing": {}, "runs": kept(path, options.rows, options.servers)}
        begun = time.monotonic()
        run(options, results, lambda: path.write_text(json.dumps(results, indent=1) + "\n"))
        say(f"took {(time.monotonic() - begun) / 60:.0f} minutes")
    (options.out / "shapes.md").write_text(tables(results))
    print(tables(results))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

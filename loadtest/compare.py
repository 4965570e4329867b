#!/usr/bin/env python3
"""Compares fanfare with other servers and with the bare send loop, under the same load.

    ./compare.sh                        everything: about an hour
    ./compare.sh --quick                a short version: some minutes
    ./compare.sh --draw                 table and plot from results/compare.json, without a measurement
    ./compare.sh --servers fanfare,bare:0 --tables 500x1M --sweep '' --rounds 10

Servers run one after another, interleaved: each round is a run of every server under the same load, so that changes of
the machine over an hour affect all of them alike. Figures are medians over the rounds. A server that is not installed is
skipped, and the table says how to install it. Writes compare.json (every run), compare.md (table) and compare.svg (plot)
to results/.

"of the bare loop" is MB per CPU-second, relative to the bare send loop at the same p50 latency, interpolated between the
windows (bare:0, bare:33, ...) that were measured in the same round.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from datetime import date
from pathlib import Path

import measure
import plot
import servers

SERVERS = "fanfare,bare:0,bare:33,bare:100,nginx-rtmp,node-media-server"
TABLES = "500x1M,2000x600k"
SWEEP = "100,500,1000,2000,4000,6000,8000,9500"
RESULTS = servers.HERE / "results"
# Below this share a server falls behind; the first second of a stream may differ from the mean by this much.
DELIVERED = 0.97


def run(options: argparse.Namespace, results: dict, save) -> None:
    """Runs all measurements; calls `save` after each."""
    names = [name for name in options.servers.split(",") if name]
    for loads, rounds, kind in ((options.tables, options.rounds, "table"), (options.sweep, options.sweep_rounds, "sweep")):
        for number in range(rounds):
            overloaded = set()
            for load in loads:
                for name in names:
                    if name in results["missing"] or name in overloaded:
                        continue
                    outcome = attempt(name, load, results)
                    if outcome is None:
                        continue
                    results["runs"].append({"kind": kind, "round": number, **outcome})
                    # More players would only show the same again, and take minutes.
                    if kind == "sweep" and outcome.get("share_delivered", 0) < 0.9:
                        overloaded.add(name)
                    save()


def attempt(name: str, load: measure.Load, results: dict) -> dict | None:
    try:
        outcome = measure.measure(name, load)
    except servers.Missing as missing:
        results["missing"][name] = str(missing)
        say(f"skipped: {missing}")
        return None
    except (RuntimeError, OSError, measure.subprocess.SubprocessError) as error:
        say(f"{name} with {load.players} players: {error}")
        return {"server": name, "players": load.players, "bitrate": load.bitrate, "failed": str(error)}
    say(f"{name:20} {load.players:5} x {load.bitrate}: {outcome['mb_per_cpu_second']:6.0f} MB/CPU-s  "
        f"{outcome['cores']:.2f} cores  p50 {outcome['p50_ms']:.1f} p99 {outcome['p99_ms']:.1f} ms  "
        f"held {outcome['held']}  delivered {outcome['share_delivered']:.3f}  longest wait {outcome['longest_wait_ms']:.0f} ms  "
        f"gaps {outcome['gaps']}")
    return outcome


def bare_at(p50_ms: float, bare: list[tuple[float, float]]) -> float | None:
    """MB per CPU-second of the bare loop at that latency, interpolated linearly between (p50, MB per CPU-second)."""
    bare = sorted(bare)
    if not bare:
        return None
    if p50_ms <= bare[0][0]:
        return bare[0][1]
    for (x0, y0), (x1, y1) in zip(bare, bare[1:]):
        if p50_ms <= x1:
            return y0 + (y1 - y0) * (p50_ms - x0) / (x1 - x0)
    return bare[-1][1]


def ratios(runs: list[dict], name: str) -> list[float]:
    """Ratios of a server to the bare loop at the same latency, one per round."""
    found = []
    for own in (run for run in runs if run["server"] == name):
        bare = [(run["p50_ms"], run["mb_per_cpu_second"]) for run in runs
                if run["round"] == own["round"] and run["server"].startswith("bare:") and is_complete(run)]
        at = bare_at(own["p50_ms"], bare)
        if at:
            found.append(own["mb_per_cpu_second"] / at)
    return found


def is_complete(run: dict) -> bool:
    """Whether every player connected and stayed, and every frame arrived in time."""
    lost = run["gaps"] + run["skips"] + run["out_of_order"] + run["corrupt"] + run["connect_failures"]
    is_all = lost == 0 and run["held"] == run["players"] and run.get("stalled_players", 0) == 0
    return is_all and run["share_delivered"] >= DELIVERED


def table(results: dict) -> str:
    """One Markdown table per load, and what was skipped."""
    lines = [f"{results['machine']}, {results['date']}. Server on one core, encoder and players on another, loopback; "
             f"medians of {results['rounds']} interleaved rounds.", ""]
    runs = [run for run in results["runs"] if run["kind"] == "table"]
    for players, bitrate in dict.fromkeys((run["players"], run["bitrate"]) for run in runs):
        here = [run for run in runs if (run["players"], run["bitrate"]) == (players, bitrate)]
        lines += [f"### {players} players × {rate(bitrate)}", "",
                  "| server | MB per CPU-second | of the bare loop | cores | p50 / p99 ms | first key frame p50 / p99 ms "
                  "| memory MB | held | delivered in time | longest wait ms | gaps |",
                  "|---|---|---|---|---|---|---|---|---|---|---|"]
        for name in dict.fromkeys(run["server"] for run in here):
            lines.append(row(name, here))
        lines.append("")
    lines += [f"Skipped: {reason}  " for reason in results["missing"].values()]
    return "\n".join(lines).rstrip() + "\n"


def row(name: str, runs: list[dict]) -> str:
    own = [run for run in runs if run["server"] == name and "failed" not in run]
    failed = [run["failed"] for run in runs if run["server"] == name and "failed" in run]
    if not own:
        return f"| {name} | failed: {failed[0]} | | | | | | | | | |"
    # Older results do not have this figure.
    waits = [run["longest_wait_ms"] for run in own if "longest_wait_ms" in run]
    of_bare = ratios([run for run in runs if "failed" not in run], name)

    def median(key: str) -> float:
        return statistics.median(run[key] for run in own)

    return (f"| {name} | {median('mb_per_cpu_second'):.0f} | {f'{statistics.median(of_bare):.2f}' if of_bare else '–'} "
            f"| {median('cores'):.2f} | {median('p50_ms'):.1f} / {median('p99_ms'):.1f} "
            f"| {median('first_key_frame_p50_ms'):.1f} / {median('first_key_frame_p99_ms'):.0f} "
            f"| {median('resident_mb'):.0f} | {median('held'):.0f} | {median('share_delivered'):.2f} "
            f"| {f'{max(waits):.0f}' if waits else '–'} | {sum(run['gaps'] + run['skips'] for run in own)} |")


def drawing(results: dict) -> str:
    """The plot: CPU and latency over the number of players."""
    runs = [run for run in results["runs"] if run["kind"] == "sweep" and "failed" not in run]
    bitrates = " and ".join(dict.fromkeys(rate(run["bitrate"]) for run in runs))
    cpu, latency = {}, {}
    for name, players in dict.fromkeys((run["server"], run["players"]) for run in runs):
        own = [run for run in runs if (run["server"], run["players"]) == (name, players)]
        complete = all(is_complete(run) for run in own)
        for lines, key in ((cpu, "cores"), (latency, "p99_ms")):
            value = statistics.median(run[key] for run in own)
            lines.setdefault(name, []).append(plot.Point(players, value, complete))
    panels = [plot.Panel("CPU of the server, cores", cpu), plot.Panel("Latency p99, ms", latency, log=True)]
    return plot.svg(panels, f"players × {bitrates}", f"{results['machine']}, {results['date']}")


def rate(bitrate: str) -> str:
    return f"{bitrate[:-1]} {bitrate[-1]}bit/s"


def kept(path: Path, options: argparse.Namespace) -> list[dict]:
    """Results of an earlier comparison on this machine, of the kinds that are not measured now."""
    if not path.exists():
        return []
    before = json.loads(path.read_text())
    measured = {kind for kind, loads in (("table", options.tables), ("sweep", options.sweep)) if loads}
    if before["machine"] != machine():
        return []
    return [run for run in before["runs"] if run["kind"] not in measured]


def machine() -> str:
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} × {model}, Linux {platform.release().split('-')[0]}"


def loads(text: str, options: argparse.Namespace, bitrate: str = "") -> list[measure.Load]:
    """`500x1M,2000x600k`, or only numbers of players where there is one bitrate."""
    found = []
    for item in (item for item in text.split(",") if item):
        players, _, own_bitrate = item.partition("x")
        found.append(measure.Load(int(players), own_bitrate or bitrate, options.seconds,
                                  drain_every_ms=options.drain_every_ms))
    return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default=SERVERS, help=f"default: {SERVERS}")
    parser.add_argument("--xiu", action="store_true", help="include xiu, which must be installed")
    parser.add_argument("--tables", default=TABLES, help=f"loads of the tables; default: {TABLES}")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per table")
    parser.add_argument("--sweep", default=SWEEP, help=f"players of the plot; default: {SWEEP}")
    parser.add_argument("--sweep-bitrate", default="600k")
    parser.add_argument("--sweep-rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10, help="length of each measurement")
    parser.add_argument("--drain-every-ms", type=int, default=10, help="see fanfare-load play --help")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="one round of shorter runs, few points in the plot")
    parser.add_argument("--draw", action="store_true", help="draw from earlier results, without a measurement")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.sweep = 1, 4, "100,500,1000,2000"
    if options.xiu:
        options.servers += ",xiu"
    options.tables = loads(options.tables, options)
    options.sweep = loads(options.sweep, options, options.sweep_bitrate)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "compare.json"
    if options.draw:
        results = json.loads(path.read_text())
    else:
        measure.raise_file_limit()
        results = {"machine": machine(), "date": date.today().isoformat(), "rounds": options.rounds,
                   "missing": {}, "runs": kept(path, options)}
        begun = time.monotonic()
        run(options, results, lambda: path.write_text(json.dumps(results, indent=1) + "\n"))
        say(f"took {(time.monotonic() - begun) / 60:.0f} minutes")
    kinds = {run["kind"] for run in results["runs"]}
    if "table" in kinds:
        (options.out / "compare.md").write_text(table(results))
        print(table(results))
    if "sweep" in kinds:
        (options.out / "compare.svg").write_text(drawing(results))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

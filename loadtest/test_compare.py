"""python3 -m unittest, in this directory. Starts no server."""

import json
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import compare
import measure
import plot


def outcome(server: str, round_number: int = 0, **other) -> dict:
    figures = {"mb_per_cpu_second": 200, "cores": 0.3, "share_delivered": 1.0, "p50_ms": 2, "p99_ms": 8,
               "longest_wait_ms": 40, "first_key_frame_p50_ms": 1, "first_key_frame_p99_ms": 2, "resident_mb": 7, "held": 500,
               "connect_failures": 0, "gaps": 0, "skips": 0, "out_of_order": 0, "corrupt": 0}
    return {"server": server, "round": round_number, "kind": "table", "players": 500, "bitrate": "1M", **figures, **other}


RESULTS = {"machine": "a machine", "date": "2026-01-01", "rounds": 2, "missing": {"xiu": "xiu: cargo install xiu"},
           "runs": [outcome("bare:0"), outcome("bare:33", p50_ms=12, mb_per_cpu_second=400),
                    outcome("fanfare", p50_ms=7, mb_per_cpu_second=330),
                    outcome("bare:0", 1, mb_per_cpu_second=100), outcome("fanfare", 1, mb_per_cpu_second=120),
                    {"server": "other", "round": 0, "kind": "table", "players": 500, "bitrate": "1M", "failed": "died"}]}


class Compare(unittest.TestCase):
    def test_the_bare_loop_is_interpolated_at_the_same_latency(self):
        bare = [(12.0, 400.0), (2.0, 200.0)]
        self.assertEqual([compare.bare_at(p50, bare) for p50 in (1, 2, 7, 12, 90)], [200, 200, 300, 400, 400])
        self.assertIsNone(compare.bare_at(1, []))

    def test_ratios_compare_runs_of_the_same_round(self):
        runs = [run for run in RESULTS["runs"] if "failed" not in run]
        self.assertEqual(compare.ratios(runs, "fanfare"), [330 / 300, 1.2])

    def test_a_bare_loop_that_lost_frames_is_not_used(self):
        runs = [outcome("bare:0", gaps=1), outcome("fanfare")]
        self.assertEqual(compare.ratios(runs, "fanfare"), [])

    def test_the_table_has_a_row_for_each_server_and_lists_what_is_missing(self):
        table = compare.table(RESULTS)
        self.assertIn("| fanfare | 225 | 1.15 | 0.30 | 4.5 / 8.0 | 1.0 / 2 | 7 | 500 | 1.00 | 40 | 0 |", table)
        self.assertIn("| other | failed: died |", table)
        self.assertIn("Skipped: xiu: cargo install xiu", table)

    def test_the_plot_is_well_formed_and_has_each_point(self):
        runs = [outcome(server, kind="sweep", players=players, p99_ms=players / 10, share_delivered=share)
                for server, share in (("fanfare", 1), ("<other>", 0.5)) for players in (100, 1000, 9500)]
        root = ElementTree.fromstring(compare.drawing({**RESULTS, "runs": runs}))
        circles = root.findall(".//{*}circle")
        self.assertEqual(len(circles), 2 * 6 + 1)
        self.assertEqual(len(root.findall(".//{*}polyline")), 4)

    def test_results_of_the_other_kind_are_kept_if_they_are_from_this_machine(self):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "compare.json"
            options = type("Options", (), {"tables": [measure.Load(1, "1M")], "sweep": []})
            self.assertEqual(compare.kept(path, options), [])
            runs = [outcome("fanfare"), outcome("fanfare", kind="sweep")]
            path.write_text(json.dumps({"machine": compare.machine(), "runs": runs}))
            self.assertEqual(compare.kept(path, options), runs[1:])
            path.write_text(json.dumps({"machine": "another", "runs": runs}))
            self.assertEqual(compare.kept(path, options), [])

    def test_loads_are_parsed(self):
        options = type("Options", (), {"seconds": 3, "drain_every_ms": 10})
        (load,) = compare.loads("2000x600k", options)
        self.assertEqual((load.players, load.bits_per_second(), load.seconds, load.streams), (2000, 600_000, 3, 1))
        self.assertEqual([load.players for load in compare.loads("1,20", options, "1M")], [1, 20])
        self.assertEqual(measure.Load(1, "2.5M").bits_per_second(), 2_500_000)


class Plot(unittest.TestCase):
    def test_ticks_are_round_numbers_and_cover_all_values(self):
        self.assertEqual(plot.nice_ticks(9500), [0, 2000, 4000, 6000, 8000, 10000])
        self.assertEqual(plot.nice_ticks(0.83), [0, 0.2, 0.4, 0.6, 0.8, 1.0])
        self.assertEqual(plot.decades([2.5, 600]), [1, 10, 100, 1000])
        self.assertEqual(plot.decades([]), [1, 10])


if __name__ == "__main__":
    unittest.main()

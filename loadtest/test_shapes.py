"""python3 -m unittest, in this directory. Starts no server."""

import json
import tempfile
import unittest
from pathlib import Path

import compare
import measure
import servers
import shapes

GOOD = {"held": 10, "players": 10, "pending_mb": 0, "gaps": 0, "skips": 0, "never": 0, "out_of_order": 0, "corrupt": 0,
        "stalled_players": 0, "connect_failures": 0, "disconnects": 0, "cores": 0.5, "load_is_bottleneck": False}


def attempt(limit: int, bottleneck: int = 1 << 30):
    """A server that carries so many publishers, and a load generator that makes so many."""
    def measured(streams: int) -> dict:
        if streams > bottleneck:
            return {**GOOD, "load_is_bottleneck": True}
        return {**GOOD, "gaps": int(streams > limit), "cores": streams / limit}
    return measured


class Search(unittest.TestCase):
    def setUp(self):
        self.say, shapes.say = shapes.say, lambda text: None

    def tearDown(self):
        shapes.say = self.say

    def test_the_most_publishers_are_found_from_below_and_from_above(self):
        for limit in (150, 799, 800, 2300, 7000):
            found = shapes.most(800, attempt(limit))
            self.assertLessEqual(found["most"], limit)
            self.assertGreaterEqual(found["most"], limit * 0.95)
            self.assertFalse(found["load_is_bottleneck"])
            self.assertAlmostEqual(found["cores"], found["most"] / limit, msg="the figures are of that number")

    def test_a_load_generator_at_its_limit_ends_the_search_and_is_named(self):
        found = shapes.most(800, attempt(7000, bottleneck=2000))
        self.assertTrue(1500 < found["most"] <= 2000)
        self.assertEqual((found["limit"], found["load_is_bottleneck"]), ("the load generator's", True))

    def test_a_server_that_carries_more_than_is_searched_for_is_said_to(self):
        found = shapes.most(800, attempt(1 << 20))
        self.assertIn("of this search", found["limit"])
        self.assertGreater(found["most"], shapes.MAX_CLIENTS / shapes.FACTOR - 1)

    def test_a_server_that_fails_carries_nothing(self):
        def fails(streams: int) -> dict:
            raise RuntimeError("the server ended")
        self.assertEqual(shapes.most(800, fails)["most"], 0)

    def test_a_number_is_carried_only_if_nothing_is_lost_and_nothing_waits(self):
        self.assertTrue(shapes.carries(GOOD))
        for key in GOOD:
            if key not in ("cores", "load_is_bottleneck"):
                self.assertFalse(shapes.carries({**GOOD, key: GOOD[key] + 1}), key)
        self.assertFalse(shapes.carries({"failed": "died"}))


RUNS = [{"row": "publishers", "round": number, "server": server, "cores": cores, "load_cores": 0.3, "resident_mb": 9,
         "held_mb": 4, "frames_per_second": 58400, "sent_late_p99_ms": 1, "load_is_bottleneck": server == "xiu"}
        for number, of_round in enumerate([(0.3, 0.4, 0.25), (0.6, 0.6, 0.5), (0.8, 1.6, 0.5)])
        for server, cores in zip(("fanfare", "nginx-rtmp", "receive:0"), of_round)]
RESULTS = {"machine": "a machine", "date": "2026-01-01", "rounds": 3, "seconds": 10, "missing": {"srs": "srs: built"},
           "runs": RUNS}


class Tables(unittest.TestCase):
    def test_ratios_are_of_the_same_round_and_figures_are_medians(self):
        table = shapes.tables(RESULTS)
        self.assertIn("| fanfare | 0.600 | 0.75 | 1.20 | 9 | 4 | 58400 | 1.0 | 0.30 |", table)
        self.assertIn("| nginx-rtmp | 0.600 | 1.00 | 1.60 |", table)
        self.assertIn("Skipped: srs: built", table)
        self.assertIn("`./shapes.sh --rows publishers`", table)

    def test_failed_rounds_and_a_busy_load_generator_are_marked(self):
        runs = [{**RUNS[0], "load_is_bottleneck": True}, {**RUNS[1], "server": "fanfare", "round": 1},
                {"row": "publishers", "round": 2, "server": "fanfare", "failed": "died"},
                {"row": "publishers", "round": 0, "server": "xiu", "failed": "no port"}]
        table = shapes.tables({**RESULTS, "runs": runs})
        self.assertIn("| fanfare ! (1 of 3 rounds failed: died) | 0.350 |", table)
        self.assertIn("| xiu (1 of 1 rounds failed: no port) |", table)

    def test_every_row_has_a_table_of_its_kind(self):
        runs = [{"row": row.name, "round": 0, "server": "fanfare"} for row in shapes.ROWS]
        table = shapes.tables({**RESULTS, "runs": runs})
        for row in shapes.ROWS:
            self.assertIn(f"### {row.title}", table)

    def test_what_is_not_measured_now_is_kept(self):
        (row,) = [row for row in shapes.ROWS if row.name == "publishers"]
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "shapes.json"
            self.assertEqual(shapes.kept(path, [row], ["fanfare"]), [])
            path.write_text(json.dumps({**RESULTS, "machine": compare.machine()}))
            self.assertEqual({run["server"] for run in shapes.kept(path, [row], ["fanfare"])}, {"nginx-rtmp"})
            self.assertEqual(shapes.kept(path, shapes.ROWS[1:2], ["fanfare"]), RUNS)
            path.write_text(json.dumps(RESULTS))
            self.assertEqual(shapes.kept(path, [row], []), [])


class Measure(unittest.TestCase):
    def test_publishers_only_are_measured_by_what_they_sent(self):
        steady = {"seconds": 10, "load_cores": 0.5, "frames_per_second": 73.0, "late_ms": {"p99": 3.0},
                  "server": {"cores": 0.25, "mb_per_cpu_second": 240.0, "resident_mb": 12.0}}
        load = measure.Load(players=0, streams=800, bitrate="600k")
        line = measure.published("receive:0", load, {"steady": steady, "pending_bytes": 2e6, "held": 800}, 0)
        self.assertEqual((line["cores"], line["pending_mb"], line["held"]), (0.25, 2, 800))
        self.assertFalse(line["load_is_bottleneck"])
        with self.assertRaises(RuntimeError):
            measure.published("receive:0", load, {"steady": {**steady, "seconds": 0}}, 0)

    def test_a_load_generator_without_time_left_is_the_bottleneck(self):
        self.assertFalse(measure.is_bottleneck(0.9, 10))
        self.assertTrue(measure.is_bottleneck(0.91, 10))
        self.assertTrue(measure.is_bottleneck(0.5, 51), "frames that are sent late make another load")

    def test_what_streams_hold_is_read_from_the_metrics(self):
        metrics = '# UNIT x\nfanfare_memory_bytes{kind="input"} 7.0\nfanfare_memory_bytes{kind="segments"} 4200000.0\n'
        self.assertEqual(measure.segments_mb(metrics), 4.2)
        self.assertEqual(measure.segments_mb(""), 0)

    def test_the_bare_receive_loop_is_a_server_that_rests(self):
        need, servers.need = servers.need, str
        try:
            command = servers.command("receive:10", 1940, Path())
        finally:
            servers.need = need
        self.assertEqual(command[1:], ["receive", "--listen", "127.0.0.1:1940", "--rest", "10"])


if __name__ == "__main__":
    unittest.main()

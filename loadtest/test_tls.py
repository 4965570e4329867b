"""python3 -m unittest, in this directory. Starts no server."""

import unittest

import tls


def players(plain: float, encrypted: float) -> list[dict]:
    """One round of a row with players."""
    cost = {("fanfare", "rtmp"): plain, ("bare:10", "rtmp"): plain, ("nginx-tls", "rtmps"): 4 * plain}
    return [{"line": f"{server} {over}", "ms_per_mb": cost.get((server, over), encrypted), "p50_ms": 2, "p99_ms": 15}
            for server, over in tls.WAYS]


class Tls(unittest.TestCase):
    def test_ratios_are_made_within_a_round(self):
        rounds = [players(1, 1.2), players(3, 3.6), players(2, 2.4)]
        self.assertAlmostEqual(tls.ratio(rounds, "fanfare rtmps", "fanfare rtmp", "ms_per_mb"), 1.2)
        self.assertAlmostEqual(tls.ratio(rounds, "nginx-tls rtmps", tls.plain_of("nginx-tls rtmps"), "ms_per_mb"), 4)
        self.assertEqual(tls.median(rounds, "fanfare rtmps", "ms_per_mb"), 2.4)

    def test_the_goal_is_one_and_a_half_times_plain_and_the_cipher(self):
        self.assertIn("= 1.80 ms per MB; RTMPS takes 1.79: met", tls.goal([players(1, 1.79)], 0.3)[0])
        self.assertIn("takes 1.81: NOT met", tls.goal([players(1, 1.81)], 0.3)[0])

    def test_rows_that_were_not_measured_are_not_drawn(self):
        rows = {"date": "2026-01-01", "machine": "a machine", "500x1M": [players(1, 1.5)]}
        page = tls.draw(rows)
        self.assertIn("| nginx-tls rtmps | 4.00 | 4.00 | 2.0 / 15.0 |", page)
        self.assertNotIn("Handshakes", page)


if __name__ == "__main__":
    unittest.main()

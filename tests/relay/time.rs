//! Timestamps that exceed 24 bits, and that wrap.

use crate::crowd::Crowd;
use crate::frames::Source;
use crate::support::Relay;

/// Published in chunks of 128 bytes: each of a frame's many chunks repeats the extended timestamp.
fn expect_timestamps_to_continue_past(edge_ms: u32) {
    let relay = Relay::start("play.max_lag = '1m'");
    let mut crowd = Crowd::new();
    // The timestamp of frame 50 is `edge_ms`.
    let source = Source { first_ms: edge_ms.wrapping_sub(1000), key_every: 20, ..Source::new(1) };
    let early = crowd.play_all(&relay, "live/a", 2);
    let publisher = crowd.publish_in_chunks(&relay, "live/a", 128);
    crowd.begin(publisher, &source, &early);
    crowd.send_frames(publisher, &source, 1..45);
    crowd.until_seen(&early, 44);
    let before = crowd.play(&relay, "live/a");
    crowd.until_seen(&[before], 44);
    crowd.send_frames(publisher, &source, 45..65);
    crowd.until_seen(&early, 64);
    let after = crowd.play(&relay, "live/a");
    crowd.until_seen(&[after], 64);
    crowd.send_frames(publisher, &source, 65..100);
    let late = [before, after];
    crowd.until_seen(&early, 99);
    crowd.until_seen(&late, 99);

    for player in early {
        source.assert_from_the_start("an early player", &crowd[player].seen, 0..100);
    }
    for (player, first) in late.into_iter().zip([40, 60]) {
        let seen = &crowd[player].seen;
        source.assert_from_the_start("a late player", seen, first..100);
        let header_times: Vec<u32> = seen[..3].iter().map(|header| header.timestamp_ms).collect();
        assert_eq!(header_times, [0; 3], "FFmpeg takes metadata at any other time for subtitles");
    }
}

#[test]
fn timestamps_continue_past_24_bits() {
    expect_timestamps_to_continue_past(1 << 24);
}

#[test]
fn timestamps_continue_past_32_bits() {
    expect_timestamps_to_continue_past(0);
}

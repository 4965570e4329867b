//! Records as x264, x265, libaom, SVT-AV1 and libvpx make them, by FFmpeg; and what no encoder makes.

use proptest::prelude::*;

use super::{
    bits::Bits,
    parameter_set::{frame_rate, size},
    *,
};

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}

/// Numbers as so many bits each, filled up to a whole byte.
fn packed(fields: &[(u64, usize)]) -> Vec<u8> {
    let mut text: String = fields.iter().map(|&(value, width)| format!("{value:0width$b}")).collect();
    text += &"0".repeat(text.len().next_multiple_of(8) - text.len());
    text.as_bytes().chunks(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | (bit & 1))).collect()
}

/// The record in a sequence header: behind a FourCC, or in the legacy form of that codec id.
fn enhanced(four_cc: &[u8; 4], record: &[u8]) -> Vec<u8> {
    [&[0x90], &four_cc[..], record].concat()
}

fn legacy(codec: u8, record: &[u8]) -> Vec<u8> {
    [&[0x10 | codec, 0, 0, 0, 0], record].concat()
}

/// Codec, size and frame rate.
type Said = (&'static str, Option<(u32, u32)>, Option<f64>);

fn said(message: &[u8]) -> (Option<String>, Option<(u32, u32)>, Option<f64>) {
    let VideoConfig { codec_string, width, height, frame_rate } = video(message);
    (codec_string, width.zip(height), frame_rate)
}

fn expect(message: &[u8], (codec, size, rate): Said, what: &str) {
    assert_eq!(said(message), (Some(codec.to_owned()), size, rate), "{what}");
}

const X264: &str =
    "01640028ffe1001a67640028acd940780227a9b01100000303e90000ea600f18319601000668ebe3cb22c0fdf8f800";
const X265: &str = "01016000000090000000000078f000fcfdf8f800000f03200001001840010c01ffff016000000300900000030000030078959809\
                    210001002a420101016000000300900000030000030078a003c08010e75596566924caf01680800001f480003a9804220001\
                    00074401c172b46240";
const SUB_LAYERS: &str = "01016000000090000000000078f000fcfdf8f800001303200001001c40010c02ffff01600000030090000003000003007800\
                    009598acc04821000100324201020160000003009000000300000300780000a00280802d1659598acd249caf046a02020208\
                    000003000800000301904022000100074401c172b46240";
const AOM: &str = "81080c000a0b00000042abbec3532be401";

#[test]
fn sets_of_h264_name_the_size_that_is_shown_and_the_rate_of_frames() {
    let table: [(&str, &str, Said); 7] = [
        ("cropped", X264, ("avc1.640028", Some((1918, 1078)), Some(29.97))),
        (
            "4:4:4",
            "01f40028ffe1001b67f40028919b280f0044fc5e0220000003002000000641e30632c001000668ebe3c44844fff8f800",
            ("avc1.F40028", Some((1920, 1078)), Some(25.0)),
        ),
        (
            "4:2:2",
            "017a001fffe1001b677a001fb6cd940a42fe227c0440000003004000001903c60c658001000668ebe3cb22c0fefafa00",
            ("avc1.7A001F", Some((642, 362)), Some(50.0)),
        ),
        (
            "interlaced: of two fields to a frame",
            "01640028ffe1001a67640028acd94078044fde0220000003002000000643e2c5b2c001000668fba3cb22c0fdf8f800",
            ("avc1.640028", Some((1920, 1080)), Some(25.0)),
        ),
        (
            "lists in the picture's set",
            "01640020ffe1001967640020acd9405005bb0110000003001000000780f183196001000768ebe3cb3002c0fdf8f800",
            ("avc1.640020", Some((1280, 720)), Some(60.0)),
        ),
        (
            "baseline: no word of chroma",
            "0142c00affe100166742c00ad902c4ec0440000003004000000783c4899201000568cb83cb20",
            ("avc1.42C00A", Some((176, 144)), Some(15.0)),
        ),
        (
            "pixels that are no squares, colours",
            "0164001effe1001d6764001eacd940b4126c11a808080a000003000200000300641e2c5b2c01000668ebe3cb22c0fdf8f800",
            ("avc1.64001E", Some((720, 576)), Some(25.0)),
        ),
    ];
    for (what, hex, wanted) in table {
        expect(&legacy(7, &bytes(hex)), wanted, what);
        expect(&enhanced(b"avc1", &bytes(hex)), wanted, what);
    }
}

#[test]
fn sets_of_hevc_name_the_size_that_is_shown_and_the_rate_of_frames() {
    let table: [(&str, &str, Said); 3] = [
        ("cropped", X265, ("hvc1.1.6.L120.90", Some((1918, 1078)), Some(29.97))),
        (
            "4:4:4, without a word of time",
            "0104080000009c08000000005af000fcfffafa00000f03200001001840010c01ffff0408000003009c0800000300005a9d8a02402\
             1000100204201010408000003009c0800000300005a9000a0402d26cb3b1524995e02d00122000100084401c172860c4624",
            ("hvc1.4.10.L90.9C.8", Some((640, 360)), None),
        ),
        (
            "sub-layers, lists, pixels that are no squares, colours",
            SUB_LAYERS,
            ("hvc1.1.6.L120.90", Some((1280, 720)), Some(50.0)),
        ),
    ];
    for (what, hex, wanted) in table {
        expect(&legacy(12, &bytes(hex)), wanted, what);
        expect(&enhanced(b"hvc1", &bytes(hex)), wanted, what);
    }
}

#[test]
fn the_rate_of_hevc_may_be_in_the_set_above_alone() {
    let whole = bytes(X265);
    let set = bits::unescaped(&nal_unit_of(&whole, 32));
    // Its last three bits are vps_timing_info_present_flag, vps_extension_flag and the stop bit.
    let mut reader = Bits::new(&set);
    let mut fields: Vec<(u64, usize)> =
        std::iter::from_fn(|| reader.take(1)).map(|bit| (bit.into(), 1)).collect();
    let stop = fields.iter().rposition(|&(bit, _)| bit == 1).expect("a stop bit");
    assert_eq!(fields[stop - 2..stop], [(0, 1), (0, 1)]);
    fields.truncate(stop - 2);
    fields.extend([(1, 1), (1, 32), (25, 32), (0, 1), (0, 1), (1, 1)]);
    let set = escape(&packed(&fields));
    let record = [&whole[..22], &[1, 0x20, 0, 1], &(set.len() as u16).to_be_bytes(), &set].concat();
    assert_eq!(video(&enhanced(b"hvc1", &record)).frame_rate, Some(25.0));
}

fn nal_unit_of(record: &[u8], kind: u8) -> Vec<u8> {
    let at = record.windows(3).position(|array| array == [kind, 0, 1]).expect("an array of one");
    let len = usize::from(u16::from_be_bytes([record[at + 3], record[at + 4]]));
    record[at + 5..at + 5 + len].to_vec()
}

fn escape(bytes: &[u8]) -> Vec<u8> {
    let mut escaped: Vec<u8> = Vec::new();
    for &byte in bytes {
        if byte <= 3 && escaped.ends_with(&[0, 0]) {
            escaped.push(3);
        }
        escaped.push(byte);
    }
    escaped
}

#[test]
fn sequence_headers_of_av1_name_the_size() {
    expect(&enhanced(b"av01", &bytes(AOM)), ("av01.0.08M.08", Some((1918, 1078)), None), "libaom");
    let svt = "81010c000a0b0000000cc4ff6700be0010";
    expect(&enhanced(b"av01", &bytes(svt)), ("av01.0.01M.08", Some((640, 360)), None), "SVT-AV1");
    // A temporal delimiter before it, an OBU without its size, a header without more.
    let (head, obu) = (&bytes(AOM)[..4], &bytes(AOM)[4..]);
    let delimited = [head, &[0x12, 0], obu].concat();
    assert_eq!(said(&enhanced(b"av01", &delimited)).1, Some((1918, 1078)));
    let unsized_obu = [head, &[0x08], &obu[2..]].concat();
    assert_eq!(said(&enhanced(b"av01", &unsized_obu)).1, Some((1918, 1078)));
    expect(&enhanced(b"av01", b"\x81\x0d\x4c\0"), ("av01.0.13M.10", None, None), "a head alone");
}

#[test]
fn an_even_rate_of_av1_is_told() {
    // profile 0, no still; timing: 1001 units of 30000, equal, 1 tick; no decoder model, no display delay, one
    // operating point of level 8 with its tier; 11 bits each for 1280 x 720.
    let fields: [(u64, usize); 18] = [
        (0, 3),
        (0, 1),
        (0, 1),
        (1, 1),
        (1_001, 32),
        (30_000, 32),
        (1, 1),
        (1, 1),
        (0, 1),
        (0, 1),
        (0, 5),
        (0, 12),
        (8, 5),
        (1, 1),
        (10, 4),
        (9, 4),
        (1_279, 11),
        (719, 10),
    ];
    let body = packed(&fields);
    let record = [&bytes(AOM)[..4], &[0x0A, body.len() as u8], &body].concat();
    expect(&enhanced(b"av01", &record), ("av01.0.08M.08", Some((1280, 720)), Some(29.97)), "timed");
}

#[test]
fn vp8_and_vp9_name_their_codec() {
    expect(
        &enhanced(b"vp09", &bytes("010000000015820202020000")),
        ("vp09.00.21.08", None, None),
        "with its box",
    );
    expect(&enhanced(b"vp09", &bytes("0015820202020000")), ("vp09.00.21.08", None, None), "without");
    expect(&enhanced(b"vp08", &[]), ("vp8", None, None), "nothing to say");
}

#[test]
fn of_several_tracks_the_first_is_told_and_what_stands_before_is_passed_over() {
    let record = bytes(X264);
    // Multitrack, one track of id 3; then many tracks, with sizes.
    let one = [&[0x96, 0x00], &b"avc1"[..], &[3], &record].concat();
    assert_eq!(said(&one).1, Some((1918, 1078)));
    let size = (record.len() as u32).to_be_bytes();
    let many = [&[0x96, 0x10], &b"avc1"[..], &[0], &size[1..], &record, &[1], &size[1..], &record].concat();
    assert_eq!(said(&many).1, Some((1918, 1078)));
    // A ModEx packet of four bytes before the packet type.
    let with_mod_ex = [&[0x97, 3, 0, 0, 0, 1, 0x00], &b"avc1"[..], &record].concat();
    assert_eq!(said(&with_mod_ex).1, Some((1918, 1078)));
    // Coded frames are no configuration.
    assert_eq!(video(&[&[0x91], &b"avc1"[..], &record].concat()), VideoConfig::default());
    assert_eq!(video(&[&[0x17, 1, 0, 0, 0], &record[..]].concat()), VideoConfig::default());
}

#[test]
fn a_clock_is_no_frame_rate_and_a_set_that_crops_all_away_has_no_size() {
    // x264 of a variable rate: 1000 ticks of a field a second.
    assert_eq!(
        (frame_rate(2_000, 2), frame_rate(90_000, 1), frame_rate(0, 2), frame_rate(25, 0)),
        (None, None, None, None)
    );
    assert_eq!((frame_rate(60_000, 2_002), frame_rate(u32::MAX, u64::MAX)), (Some(29.97), None));
    assert_eq!(size(1920, 1088, [0, 0, 0, 4], 2, 2), Some((1920, 1080)));
    assert_eq!(
        (size(16, 16, [4, 4, 0, 0], 2, 2), size(16, 16, [u32::MAX; 4], 2, 2), size(65_552, 16, [0; 4], 1, 1)),
        (None, None, None)
    );
}

#[test]
fn a_record_that_is_cut_says_what_is_there() {
    for (four_cc, hex) in [(b"avc1", X264), (b"hvc1", X265), (b"av01", AOM), (b"hvc1", SUB_LAYERS)] {
        let whole = enhanced(four_cc, &bytes(hex));
        for len in 0..whole.len() {
            let cut = video(&whole[..len]);
            check_any_bytes(&whole[..len]);
            // What a cut set says of the size is never another one.
            assert!(cut.width.is_none() || cut.width == video(&whole).width, "{hex} at {len}");
        }
    }
}

#[test]
fn an_audio_configuration_names_rate_and_channels() {
    let of = |config: &[u8]| {
        let AudioConfig { codec_string, sample_rate, channels } = audio(&[b"\xaf\0", config].concat());
        (codec_string, sample_rate, channels)
    };
    let aac = |object_type, rate, channels| (Some(format!("mp4a.40.{object_type}")), rate, channels);
    assert_eq!(of(b"\x12\x10"), aac(2, Some(44_100), Some(2)));
    assert_eq!(of(b"\x11\x88"), aac(2, Some(48_000), Some(1)));
    assert_eq!(of(b"\x11\xb8"), aac(2, Some(48_000), Some(8)));
    // HE-AAC: 24 kHz in the core, 48 kHz to the ear; said in front, and behind.
    assert_eq!(of(b"\x2b\x11\x88\0"), aac(5, Some(48_000), Some(2)));
    assert_eq!(of(b"\x13\x10\x56\xe5\x98"), aac(5, Some(48_000), Some(2)));
    // HE-AAC v2: one channel coded, two heard.
    assert_eq!(of(b"\x13\x08\x56\xe5\x9d\x48\x80"), aac(29, Some(48_000), Some(2)));
    assert_eq!(of(b"\x12"), aac(2, None, None));
    assert_eq!(of(b""), (None, None, None));
    // An explicit rate, and one of nothing.
    assert_eq!(of(b"\x17\x80\x2e\xe0\x08"), aac(2, Some(0x5DC0), Some(1)));
    assert_eq!(of(b"\x17\x80\0\0\x08"), aac(2, None, Some(1)));
}

#[test]
fn channels_that_are_listed_are_counted() {
    // AAC-LC at 48 kHz, configuration 0; a list: two pairs in front, one at the back, an LFE.
    let fields: [(u64, usize); 21] = [
        (2, 5),
        (3, 4),
        (0, 4),
        (0, 3),
        (0, 4),
        (1, 2),
        (3, 4),
        (2, 4),
        (0, 4),
        (1, 4),
        (1, 2),
        (0, 3),
        (0, 4),
        (0, 3),
        (1, 1),
        (0, 4),
        (1, 1),
        (1, 4),
        (1, 1),
        (2, 4),
        (0, 4),
    ];
    let mut config = packed(&fields);
    // No comment.
    config.push(0);
    let said = audio(&[b"\xaf\0", &config[..]].concat());
    assert_eq!((said.sample_rate, said.channels), (Some(48_000), Some(7)));
}

#[test]
fn other_codecs_name_rate_and_channels_where_they_say_them() {
    let of =
        |config: AudioConfig| (config.codec_string.unwrap_or_default(), config.sample_rate, config.channels);
    let said = |name: &str, rate, channels| (name.to_owned(), Some(rate), Some(channels));
    assert_eq!(of(audio(b"\x90OpusOpusHead\x01\x06\x38\x01")), said("opus", 48_000, 6));
    assert_eq!(of(audio_frame(b"\x91Opus")), ("opus".to_owned(), Some(48_000), None));
    // 96 kHz, 2 channels, 24 bits.
    let info = bytes("1000100000000e0036f2177002f700000000deadbeefdeadbeefdeadbeefdeadbeef");
    for before in [&b""[..], b"fLaC\0\0\0\x22", b"\x80\0\0\x22"] {
        assert_eq!(of(audio(&[b"\x90fLaC", before, &info].concat())), said("flac", 96_000, 2));
    }
    assert_eq!(of(audio_frame(b"\x2f\xff\xfb\x90\x64")), said("mp3", 44_100, 2));
    assert_eq!(of(audio_frame(b"\x2f\xff\xf3\x54\xc4")), said("mp3", 24_000, 1));
    assert_eq!(of(audio_frame(b"\x2f\x00")), ("mp3".to_owned(), None, None));
    assert_eq!(of(audio_frame(b"\x72\x00")), said("", 8_000, 1), "G.711");
    assert_eq!(of(audio_frame(b"\x3b\x00")), said("", 22_050, 2), "PCM");
    assert_eq!(audio_frame(b"\xaf\x01"), AudioConfig::default(), "AAC has a header of its own");
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_their_end_at_most(message in prop::collection::vec(any::<u8>(), 0..200)) {
        check_any_bytes(&message);
    }

    /// So that the parsers come far: records of encoders with some bits turned over.
    #[test]
    fn records_with_any_faults_say_nothing_absurd(
        which in 0..4usize,
        faults in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let (four_cc, hex) = [(b"avc1", X264), (b"hvc1", X265), (b"av01", AOM), (b"hvc1", SUB_LAYERS)][which];
        let mut message = enhanced(four_cc, &bytes(hex));
        for (at, fault) in faults {
            let at = at.index(message.len());
            message[at] ^= fault;
        }
        check_any_bytes(&message);
    }
}

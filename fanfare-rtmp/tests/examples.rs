//! The examples against each other. The relay's `tests/clients/examples.rs` runs them against it and against FFmpeg.

#[path = "../examples/play.rs"]
#[expect(dead_code, reason = "its main")]
mod play;
#[path = "../examples/publish.rs"]
#[expect(dead_code, reason = "its main")]
mod publish;
#[path = "../examples/serve.rs"]
#[expect(dead_code, reason = "its main")]
mod serve;

use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use fanfare_rtmp::amf0::{self, Value};
use fanfare_rtmp::flv::FlvFormat;
use fanfare_rtmp::flv::{Frame, FrameKind, Kinds, WireFormat};
use fanfare_rtmp::rtmp::client::Url;

/// Far more than any of this takes.
const DEADLINE: Duration = Duration::from_secs(30);
const LAST_FRAME_MS: u32 = 200;

#[test]
fn a_published_file_is_played_into_the_same_file_in_real_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url: Url = format!("rtmp://{}/live/key", listener.local_addr().unwrap()).parse().unwrap();
    thread::spawn(move || serve::serve(&listener).unwrap());

    let (written, out) = mpsc::channel();
    let play_url = url.clone();
    let played = in_thread(move || play::play(play_url, Written(written)).unwrap());
    // The file's header, which is written once the server plays.
    let mut file = out.recv_timeout(DEADLINE).expect("the server plays");

    let began = Instant::now();
    let published = in_thread(move || publish::publish(&flv_file(), url).unwrap());
    published.recv_timeout(DEADLINE).expect("the file is published to its end");
    assert!(began.elapsed() >= Duration::from_millis(LAST_FRAME_MS.into()), "{:?}", began.elapsed());
    played.recv_timeout(DEADLINE).expect("the player is notified of the end");
    file.extend(out.iter().flatten());
    assert!(file == flv_file(), "{} bytes of {} are the same", same(&file), flv_file().len());
}

/// So the README says.
#[test]
fn each_example_has_under_60_lines() {
    for text in [
        include_str!("../examples/play.rs"),
        include_str!("../examples/publish.rs"),
        include_str!("../examples/serve.rs"),
    ] {
        assert!(text.lines().count() < 60, "{}", text.lines().next().expect("not empty"));
    }
}

/// 200 ms of frames that look like H.264 and AAC, of up to 20 000 bytes, so that some have several chunks.
fn flv_file() -> Vec<u8> {
    let metadata = [Value::from("onMetaData"), Value::ecma_array([("width", 640.0.into())])];
    let frame = |kind, timestamp_ms, payload: Vec<u8>| Frame { kind, timestamp_ms, payload: payload.into() };
    let mut frames = vec![
        frame(FrameKind::Data, 0, amf0::encode_all(&metadata)),
        frame(FrameKind::Video, 0, b"\x17\0\0\0\0\x01\x42\xC0\x1F\xFF\xE0\0".into()),
        frame(FrameKind::Audio, 0, b"\xAF\0\x12\x10".into()),
    ];
    for timestamp_ms in (0..=LAST_FRAME_MS).step_by(20) {
        let first = if timestamp_ms == 0 { 0x17 } else { 0x27 };
        let filler = vec![timestamp_ms as u8; timestamp_ms as usize * 100];
        frames.push(frame(FrameKind::Video, timestamp_ms, [&[first, 1, 0, 0, 0][..], &filler].concat()));
        let audio = [&[0xAF, 1][..], &filler[..20.min(filler.len())]].concat();
        frames.push(frame(FrameKind::Audio, timestamp_ms, audio));
    }
    let mut file =
        FlvFormat.stream_header(Kinds { audio: true, video: true }).expect("a file has a header").to_vec();
    for frame in frames {
        let start = file.len();
        file.resize(start + FlvFormat.wire_len(&frame), 0);
        FlvFormat.write(&frame, &mut file[start..]);
    }
    file
}

fn same(file: &[u8]) -> usize {
    file.iter().zip(flv_file()).take_while(|(a, b)| **a == *b).count()
}

/// What it returns comes over the channel, so that waiting for it can have a deadline; nothing comes if it panics.
fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver
}

/// Hands each write to the test.
struct Written(Sender<Vec<u8>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

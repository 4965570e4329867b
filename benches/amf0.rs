//! The two AMF0 messages of every connection: connect, and a publisher's metadata.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare::amf0::{self, Value};
use std::hint::black_box;

criterion_group!(benches, values);
criterion_main!(benches);

fn values(c: &mut Criterion) {
    for (name, values) in [("connect", connect()), ("onMetaData", metadata())] {
        let bytes = amf0::encode_all(&values);
        let mut group = c.benchmark_group(format!("amf0/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("decode", |b| {
            b.iter(|| {
                let mut count = 0;
                for value in amf0::Reader::new(black_box(&bytes)) {
                    black_box(value.expect("it is valid"));
                    count += 1;
                }
                assert_eq!(count, values.len());
            });
        });
        group.bench_function("encode", |b| b.iter(|| amf0::encode_all(black_box(&values))));
        group.finish();
    }
}

/// As FFmpeg sends it.
fn connect() -> Vec<Value> {
    let object = Value::object([
        ("app", "live".into()),
        ("type", "nonprivate".into()),
        ("flashVer", "FMLE/3.0 (compatible; Lavf59.27.100)".into()),
        ("tcUrl", "rtmp://localhost:1935/live".into()),
    ]);
    vec!["connect".into(), 1.0.into(), object]
}

/// As OBS sends it.
fn metadata() -> Vec<Value> {
    let numbers = [
        "duration",
        "fileSize",
        "width",
        "height",
        "videocodecid",
        "videodatarate",
        "framerate",
        "audiocodecid",
        "audiodatarate",
        "audiosamplerate",
        "audiosamplesize",
        "audiochannels",
    ];
    let mut properties: Vec<(String, Value)> =
        numbers.iter().map(|name| ((*name).to_owned(), 1280.0.into())).collect();
    let flags = ["stereo", "2.1", "3.1", "4.0", "4.1", "5.1", "7.1"];
    properties.extend(flags.iter().map(|name| ((*name).to_owned(), false.into())));
    properties.push(("encoder".to_owned(), "obs-output module (libobs version 29.0.2)".into()));
    vec!["@setDataFrame".into(), "onMetaData".into(), Value::EcmaArray(properties)]
}

//! Publishes an FLV file in real time: `publish FILE.flv rtmp://HOST/APP/KEY`.

use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError::*};
use std::time::{Duration, Instant};
use std::{array, env, error::Error, fs, hash::*, io::prelude::*, thread};

use bytes::Bytes;
use fanfare_rtmp::flv::TagReader;
use fanfare_rtmp::rtmp::client::{Client, ClientConfig, Event, Url};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = env::args().nth(1).zip(env::args().nth(2));
    let (file, url) = arguments.ok_or("usage: publish FILE.flv rtmp://HOST/APP/KEY")?;
    publish(&fs::read(file)?, url.parse()?)
}

pub(crate) fn publish(flv: &[u8], url: Url) -> Result<(), Box<dyn Error>> {
    let mut socket = TcpStream::connect((url.host.as_str(), url.port))?;
    let (mut reader, mut buffer) = (socket.try_clone()?, [0; 4096]);
    let (sender, received) = mpsc::channel();
    thread::spawn(move || {
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            let _ = sender.send(Bytes::copy_from_slice(&buffer[..n]));
        }
    });
    let random = array::from_fn(|i| RandomState::new().hash_one(i) as u8);
    let mut client = Client::new(ClientConfig::publish(url), 0, random);
    let (opened, mut started, mut tags) = (Instant::now(), None, TagReader::default());
    tags.feed(flv);
    let mut next = tags.next()?;
    while let Some(frame) = &next {
        while let Some(event) = client.poll() {
            match event {
                Event::Send(bytes) => socket.write_all(&bytes)?,
                Event::Started => started = Some(Instant::now()),
                Event::Status(status) if status.level == "error" => return Err(status.code.into()),
                _ => {}
            }
        }
        let due = Duration::from_millis(frame.timestamp_ms.into());
        let wait = started.map_or(Duration::MAX, |started| due.saturating_sub(started.elapsed()));
        match received.recv_timeout(wait) {
            Ok(bytes) => client.receive(bytes, opened.elapsed().as_millis() as u64)?,
            Err(Timeout) => {
                client.send_frame(frame);
                next = tags.next()?;
            }
            Err(Disconnected) => return Err("closed by the server".into()),
        }
    }
    client.stop();
    while let Some(Event::Send(bytes)) = client.poll() {
        socket.write_all(&bytes)?;
    }
    socket.shutdown(Shutdown::Write)?;
    received.iter().for_each(drop);
    Ok(())
}

//! Plays a stream into an FLV file: `play rtmp://HOST/APP/KEY > FILE.flv`.

use std::io::{self, Read, Write};
use std::{array, env, error::Error, hash::*, net::TcpStream, time::Instant};

use bytes::Bytes;
use fanfare_rtmp::flv::FlvFormat;
use fanfare_rtmp::flv::{Kinds, WireFormat};
use fanfare_rtmp::rtmp::client::{Client, ClientConfig, Event, Url};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("usage: play rtmp://HOST/APP/KEY > FILE.flv")?;
    play(url.parse()?, io::stdout().lock())
}

pub(crate) fn play(url: Url, mut out: impl Write) -> Result<(), Box<dyn Error>> {
    let mut socket = TcpStream::connect((url.host.as_str(), url.port))?;
    let random = array::from_fn(|i| RandomState::new().hash_one(i) as u8);
    let mut client = Client::new(ClientConfig::play(url), 0, random);
    let opened = Instant::now();
    let mut buffer = [0; 64 << 10];
    loop {
        while let Some(event) = client.poll() {
            match event {
                Event::Send(bytes) => socket.write_all(&bytes)?,
                Event::Started => {
                    let header = FlvFormat.stream_header(Kinds { audio: true, video: true });
                    out.write_all(&header.expect("a file has a header"))?;
                }
                Event::Frame(frame) => {
                    let mut tag = vec![0; FlvFormat.wire_len(&frame)];
                    FlvFormat.write(&frame, &mut tag);
                    out.write_all(&tag)?;
                }
                Event::Status(status) if status.level == "error" => return Err(status.code.into()),
                Event::Status(_) => {}
                Event::Ended => return Ok(out.flush()?),
            }
        }
        match socket.read(&mut buffer)? {
            0 => return Err("closed by the server".into()),
            n => client.receive(Bytes::copy_from_slice(&buffer[..n]), opened.elapsed().as_millis() as u64)?,
        }
    }
}

//! Prints the frames of a publisher and relays them to the players that came before it: `serve ADDRESS`. One lock for
//! all sockets and blocking writes: a slow player delays all others.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::net::{Shutdown, TcpListener, TcpStream};
use std::{array, env, error::Error, hash::*, io::prelude::*, sync::Mutex, thread, time::Instant};

use bytes::Bytes;
use fanfare_rtmp::{flv::WireFormat, rtmp::chunk::MediaFormat, rtmp::session::*};

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).ok_or("usage: serve ADDRESS, such as 127.0.0.1:1935")?;
    serve(&TcpListener::bind(address)?)
}

pub(crate) fn serve(listener: &TcpListener) -> Result<(), Box<dyn Error>> {
    let players = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for socket in listener.incoming() {
            let socket = socket?;
            scope.spawn(|| converse(socket, &players).unwrap_or_else(|error| eprintln!("{error}")));
        }
        Ok(())
    })
}

fn converse(mut socket: TcpStream, players: &Mutex<Vec<TcpStream>>) -> Result<(), Box<dyn Error>> {
    let random = array::from_fn(|i| RandomState::new().hash_one(i) as u8);
    let mut session = Session::new(&SessionConfig::default(), 0, random);
    let (opened, mut buffer) = (Instant::now(), [0; 64 << 10]);
    while let n @ 1.. = socket.read(&mut buffer)? {
        let mut players = players.lock().expect("no thread panics");
        session.receive(Bytes::copy_from_slice(&buffer[..n]), opened.elapsed().as_millis() as u64)?;
        while let Some(output) = session.poll()? {
            if let Some(question) = output.question() {
                session.answer(question, Answer::Allow);
            }
            match output {
                Output::Send(bytes) => socket.write_all(&bytes)?,
                Output::Play(_) => players.push(socket.try_clone()?),
                Output::Frame { frame, .. } => {
                    println!("{:?} at {} ms, {} bytes", frame.kind, frame.timestamp_ms, frame.payload.len());
                    let mut wire = vec![0; MediaFormat::default().wire_len(&frame)];
                    MediaFormat::default().write(&frame, &mut wire);
                    players.retain_mut(|player| player.write_all(&wire).is_ok());
                }
                // Their threads read the end of the connection, and notify them of the end of the stream.
                Output::Unpublish { .. } => {
                    players.drain(..).for_each(|it| drop(it.shutdown(Shutdown::Read)))
                }
                Output::Close(reason) => return Err(reason.to_string().into()),
                _ => {}
            }
        }
    }
    session.end_play();
    Ok(session.take_unsent().map_or(Ok(()), |bytes| socket.write_all(&bytes))?)
}

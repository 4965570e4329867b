//! Commands (RTMP 1.0 §7.1.1, §7.2) to bytes and back. Knows their shape, not what they do.

use super::message::type_id;
use crate::amf0::{self, Value};
use crate::flv::Payload;

/// A command message: a call, or the answer to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// `connect`, `publish`, `_result`, `onStatus`, …
    pub name: String,
    /// Pairs an answer with its call; 0 where none is expected.
    pub transaction_id: f64,
    /// The command object: what `connect` says of the client, and null in nearly all others.
    pub object: Value,
    /// What follows the command object.
    pub arguments: Vec<Value>,
}

/// Why a message is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A command is parsed whole into values, so its length is bounded.
    #[error("command of {0} bytes is longer than {MAX_COMMAND_BYTES}")]
    TooLong(usize),
    /// Not AMF0.
    #[error(transparent)]
    Amf0(#[from] amf0::Error),
    /// It does not begin with a string.
    #[error("a command begins with its name")]
    NoName,
}

impl Command {
    /// Parses a command message: AMF0 (20), or "AMF3" (17), which is a format byte and then AMF0 as well.
    pub fn from_message(message_type_id: u8, payload: &Payload) -> Result<Self, Error> {
        if payload.len() > MAX_COMMAND_BYTES {
            return Err(Error::TooLong(payload.len()));
        }
        let format_bytes = if message_type_id == type_id::COMMAND_AMF3 { 1 } else { 0 };
        Self::parse(&payload.skip(format_bytes).to_bytes())
    }

    /// Parses AMF0. An AMF3 value, which only calls of an application's own have, ends the arguments.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut values = amf0::Reader::new(body);
        let Some(Value::String(name)) = values.next().transpose()? else {
            return Err(Error::NoName);
        };
        // Cameras leave out what they have nothing to say about.
        let transaction_id = values.next().transpose()?.and_then(|id| id.as_number()).unwrap_or(0.0);
        let object = next_unless_amf3(&mut values)?.unwrap_or(Value::Null);
        let mut arguments = Vec::new();
        while let Some(argument) = next_unless_amf3(&mut values)? {
            arguments.push(argument);
        }
        Ok(Self { name, transaction_id, object, arguments })
    }

    /// A call.
    pub fn call(name: &str, transaction_id: f64, arguments: impl Into<Vec<Value>>) -> Self {
        Self { name: name.to_owned(), transaction_id, object: Value::Null, arguments: arguments.into() }
    }

    /// `_result`: the answer to the call of this transaction id.
    pub fn result(transaction_id: f64, value: Value) -> Self {
        Self::call("_result", transaction_id, [value])
    }

    /// `_error`: the call failed.
    pub fn error(transaction_id: f64, code: &str, description: &str) -> Self {
        Self::call("_error", transaction_id, [information("error", code, description)])
    }

    /// `onStatus` (§7.2.2). FFmpeg gives up on any level but `status` and `warning`.
    pub fn on_status(level: &str, code: &str, description: &str) -> Self {
        Self::call("onStatus", 0.0, [information(level, code, description)])
    }

    /// Its message body, in AMF0.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(TYPICAL_COMMAND_BYTES);
        amf0::encode(&self.name.as_str().into(), &mut body);
        amf0::encode(&self.transaction_id.into(), &mut body);
        amf0::encode(&self.object, &mut body);
        self.arguments.iter().for_each(|argument| amf0::encode(argument, &mut body));
        body
    }

    /// The argument of that index behind the command object, if it is text.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index)?.as_str()
    }

    /// The argument of that index as a truth value: a Boolean, or a Number that is not 0.
    pub fn flag(&self, index: usize) -> Option<bool> {
        let argument = self.arguments.get(index)?;
        argument.as_bool().or(argument.as_number().map(|number| number != 0.0))
    }
}

/// The information object of `onStatus`, `_result` and `_error`.
pub fn information(level: &str, code: &str, description: &str) -> Value {
    Value::object([("level", level.into()), ("code", code.into()), ("description", description.into())])
}

fn next_unless_amf3(values: &mut amf0::Reader) -> Result<Option<Value>, amf0::Error> {
    match values.next() {
        Some(Err(error)) if error.kind == amf0::ErrorKind::Avmplus => Ok(None),
        value => value.transpose(),
    }
}

/// A connect with a page's URL and Enhanced RTMP's codec lists is about 1 KiB; a play name with a token, 4 KiB.
pub const MAX_COMMAND_BYTES: usize = 65_536;
/// An onStatus.
const TYPICAL_COMMAND_BYTES: usize = 160;

/// What holds for any bytes, for the tests below and the fuzz target; the first is the message type. A command that
/// is read is written and read again as the same one, and what it was read from is bounded.
#[cfg(any(test, fuzzing))]
pub fn check_any_bytes(bytes: &[u8]) {
    let Some((message_type_id, body)) = bytes.split_first() else {
        return;
    };
    let Ok(command) = Command::from_message(*message_type_id, &body.to_vec().into()) else {
        return;
    };
    assert!(body.len() <= MAX_COMMAND_BYTES);
    let written = command.to_bytes();
    let again = Command::parse(&written).expect("what we write, we read");
    // By bytes: a NaN is not equal to itself.
    assert_eq!(again.to_bytes(), written);
    for index in 0..=command.arguments.len() {
        assert_eq!(command.text(index), again.text(index));
        assert_eq!(command.flag(index), again.flag(index));
    }
    let connect = super::session::Connect::parse(&command.object);
    super::name::check_any_text(&connect.app, &connect.tc_url, command.text(0).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_command_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            check_any_bytes(&[b"\x14\x02\0\x01x\0\0\0\0\0\0\0\0\0\x05".as_slice(), &bytes].concat());
            check_any_bytes(&bytes);
        }
    }

    #[test]
    fn a_command_survives_the_round_trip() {
        let mut command = Command::call("play", 4.0, [Value::from("key"), Value::from(-2000.0), true.into()]);
        command.object = Value::object([("app", "live".into())]);
        assert_eq!(Command::parse(&command.to_bytes()), Ok(command.clone()));
        assert_eq!(command.text(0), Some("key"));
        assert_eq!(command.flag(1), Some(true));
        assert_eq!(command.flag(2), Some(true));
        assert_eq!(command.text(3), None);
    }

    #[test]
    fn a_command_may_leave_out_all_but_its_name() {
        let command = Command::parse(b"\x02\x00\x07_result").unwrap();
        assert_eq!(command, Command { arguments: vec![], ..Command::result(0.0, Value::Null) });
    }

    #[test]
    fn an_amf3_value_ends_the_arguments() {
        let mut body = Command::call("publish", 5.0, [Value::from("key")]).to_bytes();
        body.extend_from_slice(&[0x11, 0x0a, 0x0b, 0x01]);
        assert_eq!(Command::parse(&body).unwrap().arguments, [Value::from("key")]);
    }

    #[test]
    fn what_is_no_command_says_why() {
        assert_eq!(Command::parse(&[]), Err(Error::NoName));
        assert_eq!(Command::parse(&[5]), Err(Error::NoName));
        assert!(matches!(Command::parse(b"\x02\x00\x08_result"), Err(Error::Amf0(_))));
        let long = bytes::Bytes::from(vec![0; MAX_COMMAND_BYTES + 1]).into();
        assert_eq!(Command::from_message(type_id::COMMAND_AMF0, &long), Err(Error::TooLong(65_537)));
    }
}

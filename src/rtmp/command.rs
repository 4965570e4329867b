//! Commands (RTMP 1.0 §7.1.1, §7.2) to bytes and back. Knows their format, not what they do.

use super::message::type_id;
use crate::amf0::{self, Value};
use crate::flv::Payload;

/// A command message: a call, or the answer to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// `connect`, `publish`, `_result`, `onStatus`, …
    pub name: String,
    /// Matches an answer with its call; 0 if no answer is expected.
    pub transaction_id: f64,
    /// The command object: the properties of `connect`, and null in nearly all other commands.
    pub object: Value,
    /// The values after the command object, up to four.
    pub arguments: Vec<Value>,
    /// Why reading ended before the message did. Nothing after that position is known.
    pub unread: Option<amf0::Error>,
}

/// An argument of a command. One of another type than expected is not an absent one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument<'a> {
    /// Missing, null or undefined.
    Absent,
    /// A String.
    Text(&'a str),
    /// Anything else.
    Other(&'a Value),
    /// It cannot be read; it may be missing.
    Unreadable(amf0::Error),
}

/// Why a message is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than [`MAX_COMMAND_BYTES`]: commands are parsed into values as a whole.
    #[error("command of {0} bytes is longer than {MAX_COMMAND_BYTES}")]
    TooLong(usize),
    /// Not AMF0.
    #[error(transparent)]
    Amf0(#[from] amf0::Error),
    /// It does not begin with a string.
    #[error("the command does not begin with its name")]
    NoName,
}

impl Command {
    /// Parses a command message: AMF0 (20), or "AMF3" (17), which is a format byte followed by AMF0.
    ///
    /// # Errors
    /// It is too long, or does not begin with a name.
    pub fn from_message(message_type_id: u8, payload: &Payload) -> Result<Self, Error> {
        if payload.len() > MAX_COMMAND_BYTES {
            return Err(Error::TooLong(payload.len()));
        }
        let format_bytes = if message_type_id == type_id::COMMAND_AMF3 { 1 } else { 0 };
        Self::parse(&payload.skip(format_bytes).to_bytes())
    }

    /// Parses the body of a command, as far as it can be read: encoders pad messages, omit the end of the last object, or
    /// truncate the last argument. A value that cannot be read, such as AMF3, is an error only where it is needed: see
    /// [`Command::argument`] and [`Command::read_object`].
    ///
    /// # Errors
    /// It does not begin with a name.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut values = amf0::Reader::lenient(body);
        let Some(Value::String(name)) = values.next().transpose()? else {
            return Err(Error::NoName);
        };
        let mut command = Self::call(&name, 0.0, []);
        command.unread = command.read(&mut values).err();
        Ok(command)
    }

    /// Cameras omit values that are empty.
    fn read(&mut self, values: &mut amf0::Reader) -> Result<(), amf0::Error> {
        let transaction_id = values.next().transpose()?;
        self.transaction_id = transaction_id.and_then(|id| id.as_number()).unwrap_or(0.0);
        self.object = values.next().transpose()?.unwrap_or(Value::Null);
        while self.arguments.len() < MAX_ARGUMENTS
            && let Some(argument) = values.next().transpose()?
        {
            self.arguments.push(argument);
        }
        Ok(())
    }

    /// A call.
    pub fn call(name: &str, transaction_id: f64, arguments: impl Into<Vec<Value>>) -> Self {
        let arguments = arguments.into();
        Self { name: name.to_owned(), transaction_id, object: Value::Null, arguments, unread: None }
    }

    /// `_result`: the answer to the call with this transaction id.
    pub fn result(transaction_id: f64, value: Value) -> Self {
        Self::call("_result", transaction_id, [value])
    }

    /// `_error`: the call with this transaction id failed, for the reason in the information object.
    pub fn error(transaction_id: f64, information: Value) -> Self {
        Self::call("_error", transaction_id, [information])
    }

    /// `onStatus` (§7.2.2). FFmpeg stops at the level `error`.
    pub fn on_status(information: Value) -> Self {
        Self::call("onStatus", 0.0, [information])
    }

    /// The message body, in AMF0.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(TYPICAL_COMMAND_BYTES);
        amf0::encode(&self.name.as_str().into(), &mut body);
        amf0::encode(&self.transaction_id.into(), &mut body);
        amf0::encode(&self.object, &mut body);
        self.arguments.iter().for_each(|argument| amf0::encode(argument, &mut body));
        body
    }

    /// The argument at this index after the command object, if it is a String.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index)?.as_str()
    }

    /// The argument at this index after the command object.
    pub fn argument(&self, index: usize) -> Argument<'_> {
        match (self.arguments.get(index), self.unread) {
            (Some(Value::Null | Value::Undefined), _) | (None, None) => Argument::Absent,
            (Some(Value::String(text)), _) => Argument::Text(text),
            (Some(value), _) => Argument::Other(value),
            (None, Some(error)) => Argument::Unreadable(error),
        }
    }

    /// The argument at this index as a flag: a Boolean, or whether a Number is not 0; `absent` if it is absent. None if it
    /// is something else.
    pub fn flag_or(&self, index: usize, absent: bool) -> Option<bool> {
        match self.argument(index) {
            Argument::Absent => Some(absent),
            Argument::Other(Value::Boolean(is)) => Some(*is),
            Argument::Other(Value::Number(number)) => Some(*number != 0.0),
            Argument::Text(_) | Argument::Other(_) | Argument::Unreadable(_) => None,
        }
    }

    /// The command object.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_object(&self) -> Result<&Value, Error> {
        match self.unread {
            Some(error) if self.object == Value::Null && self.arguments.is_empty() => Err(error.into()),
            _ => Ok(&self.object),
        }
    }
}

/// The information object of `onStatus`, `_result` and `_error`.
pub fn information(level: &str, code: &str, description: &str) -> Value {
    Value::object([("level", level.into()), ("code", code.into()), ("description", description.into())])
}

/// The information object that redirects a client to another address, in the form of Flash Media Server's
/// `redirectConnection`. The description repeats the address, for clients that do not follow it but show errors.
pub fn redirection(code: &str, address: &str) -> Value {
    let mut redirection = information("error", code, &format!("Redirected to {address}."));
    if let Value::Object(information) = &mut redirection {
        let ex = Value::object([("code", 302.0.into()), ("redirect", address.into())]);
        information.push(("ex".to_owned(), ex));
    }
    redirection
}

/// A `connect` with a page's URL and Enhanced RTMP's codec lists has about 1 KiB, a `play` with a token 4 KiB.
pub const MAX_COMMAND_BYTES: usize = 65_536;
/// `play` has four: name, start, duration, reset. No known command has more.
const MAX_ARGUMENTS: usize = 4;
/// The size of an onStatus.
const TYPICAL_COMMAND_BYTES: usize = 160;

/// For the tests below and the fuzz target: checks a command message of any bytes, the first of which is the message
/// type. A command that can be read is the same after it has been written and read again, and its length is bounded.
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
    assert!(command.arguments.len() <= MAX_ARGUMENTS && again.unread.is_none());
    for index in 0..command.arguments.len() {
        assert_eq!(command.text(index), again.text(index));
        assert_eq!(command.flag_or(index, true), again.flag_or(index, true));
    }
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
    fn a_command_is_the_same_after_a_round_trip() {
        let mut command = Command::call("play", 4.0, [Value::from("key"), Value::from(-2000.0), true.into()]);
        command.object = Value::object([("app", "live".into())]);
        assert_eq!(Command::parse(&command.to_bytes()), Ok(command.clone()));
        assert_eq!(command.text(0), Some("key"));
        assert_eq!(command.flag_or(1, false), Some(true));
        assert_eq!(command.flag_or(2, false), Some(true));
        assert_eq!(command.text(3), None);
    }

    #[test]
    fn a_command_may_omit_everything_but_its_name() {
        let command = Command::parse(b"\x02\x00\x07_result").unwrap();
        assert_eq!(command, Command { arguments: vec![], ..Command::result(0.0, Value::Null) });
    }

    #[test]
    fn a_command_is_read_as_far_as_it_is_needed() {
        let whole = Command::call("publish", 5.0, [Value::from("key"), "live".into()]).to_bytes();
        let paddings: [&[u8]; 5] =
            [b"\0\0\0", b"\0\0\0\0\0\0\0\0\0\0\0\0", b"\x09", b"\x11\x0a\x0b\x01", b"\xff"];
        for padding in paddings {
            let padded = Command::parse(&[&whole, padding].concat()).unwrap();
            assert_eq!((padded.text(0), padded.text(1)), (Some("key"), Some("live")), "{padding:02x?}");
        }
        // The last argument, cut at any byte: the one before is whole, and the cut one is not absent.
        let last = whole.len() - Value::from("live").as_str().unwrap().len() - 3;
        for cut in last..whole.len() {
            let command = Command::parse(&whole[..cut]).unwrap();
            assert_eq!((command.transaction_id, command.text(0)), (5.0, Some("key")));
            let is_absent = command.argument(1) == Argument::Absent;
            assert_eq!(is_absent, cut == last, "cut at {cut}");
            assert_eq!(matches!(command.argument(1), Argument::Unreadable(_)), cut > last);
        }
        // A depth bomb after the last argument that is read.
        let bomb = [&whole[..], &b"\x05".repeat(10), &b"\x03\0\x01x".repeat(1_000)].concat();
        assert_eq!(Command::parse(&bomb).unwrap().unread, None);
    }

    #[test]
    fn arguments_after_an_object_without_its_end_are_unreadable_not_absent() {
        let connect = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live";
        let command = Command::parse(connect).unwrap();
        assert_eq!(command.read_object().unwrap().get("app"), Some(&"live".into()));
        assert!(matches!(command.argument(0), Argument::Unreadable(_)), "not absent: it is unknown");
        let unreadable = Command::parse(&[&connect[..19], b"\x11\x0a"].concat()).unwrap();
        assert!(matches!(unreadable.read_object(), Err(Error::Amf0(_))));
    }

    #[test]
    fn an_argument_of_another_type_is_not_an_absent_one() {
        let object = Value::object([]);
        let arguments = [Value::Null, Value::Undefined, "".into(), false.into()];
        let command = Command::call("publish", 0.0, arguments);
        assert_eq!(command.argument(0), Argument::Absent);
        assert_eq!(command.argument(1), Argument::Absent);
        assert_eq!(command.argument(2), Argument::Text(""));
        assert_eq!(command.argument(3), Argument::Other(&Value::Boolean(false)));
        assert_eq!(command.argument(4), Argument::Absent);
        assert_eq!(
            [0, 2, 3, 4].map(|index| command.flag_or(index, true)),
            [Some(true), None, Some(false), Some(true)]
        );
        assert_eq!(Command::call("pause", 0.0, [object]).flag_or(0, true), None);
    }

    #[test]
    fn bytes_that_are_no_command_are_an_error_with_the_reason() {
        assert_eq!(Command::parse(&[]), Err(Error::NoName));
        assert_eq!(Command::parse(&[5]), Err(Error::NoName));
        assert!(matches!(Command::parse(b"\x02\x00\x08_result"), Err(Error::Amf0(_))));
        let long = bytes::Bytes::from(vec![0; MAX_COMMAND_BYTES + 1]).into();
        assert_eq!(Command::from_message(type_id::COMMAND_AMF0, &long), Err(Error::TooLong(65_537)));
    }
}

//! `connect` and its answer (RTMP 1.0 §7.2.1.1, Enhanced RTMP v2).

use super::question::{ConnectRequest, QuestionId};
use crate::amf0::Value;
use crate::rtmp::command::{self, Command, information};
use crate::rtmp::name::{MAX_TEXT_BYTES, StreamName, path_and_query};

/// The part of a `connect` command that is kept as long as the connection lasts: a few hundred bytes, and app or tcUrl.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect {
    /// The command's transaction id: answers to other calls must not have it.
    pub transaction_id: f64,
    /// As sent.
    pub app: String,
    /// As sent, from `tcUrl` or `tcurl`. Kept only if `app` is empty: then it is used instead.
    pub tc_url: String,
    /// Name and version of the client, from `flashVer`; 64 characters at most, safe to log.
    pub client: String,
    /// 3 if the client offers AMF3, else 0.
    pub object_encoding: u8,
    /// The Enhanced RTMP properties, if there are any.
    pub enhanced: Option<Box<Enhanced>>,
}

/// Enhanced RTMP's part of `connect` (v2 "Enhancing NetConnection connect Command").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enhanced {
    /// `fourCcList`: FourCCs of codecs, or `*`; 32 at most, as in the maps below.
    pub four_cc_list: Vec<String>,
    /// `videoFourCcInfoMap`: FourCC or `*`, and a mask of [`CAN_DECODE`], [`CAN_ENCODE`] and [`CAN_FORWARD`].
    pub video: Vec<(String, u8)>,
    /// `audioFourCcInfoMap`.
    pub audio: Vec<(String, u8)>,
    /// `capsEx`: flags.
    pub capabilities: u32,
}

/// FourCcInfoMask: the peer decodes this codec.
pub const CAN_DECODE: u8 = 1;
/// FourCcInfoMask: the peer encodes it.
pub const CAN_ENCODE: u8 = 2;
/// FourCcInfoMask: the peer forwards it without decoding.
pub const CAN_FORWARD: u8 = 4;

impl ConnectRequest {
    pub(super) fn new(question: QuestionId, object: &Value) -> Self {
        let app = app_of(object);
        let tc_url = tc_url_of(object);
        let (path, query) = path_and_query(&app, &tc_url);
        Self {
            question,
            app: path.to_owned(),
            query: query.to_owned(),
            flash_ver: truncated(text_of(object, "flashVer"), MAX_FLASH_VER_BYTES),
            swf_url: truncated(text_of(object, "swfUrl"), MAX_URL_BYTES),
            page_url: truncated(text_of(object, "pageUrl"), MAX_URL_BYTES),
            tc_url,
        }
    }
}

impl Connect {
    /// Parses a `connect` command. Nothing in its object is mandatory.
    ///
    /// # Errors
    /// Its object cannot be read.
    pub fn parse(command: &Command) -> Result<Self, command::Error> {
        let connect = Self::of_object(command.read_object()?);
        Ok(Self { transaction_id: command.transaction_id, ..connect })
    }

    /// Memory, bytes.
    pub fn memory_bytes(&self) -> usize {
        let texts = self.app.capacity() + self.tc_url.capacity() + self.client.capacity();
        size_of::<Self>() + texts + self.enhanced.as_ref().map_or(0, |it| it.memory_bytes())
    }

    fn of_object(object: &Value) -> Self {
        let app = app_of(object);
        let tc_url = if app.is_empty() { tc_url_of(object) } else { String::new() };
        let object_encoding = object.get("objectEncoding").and_then(Value::as_number).unwrap_or(0.0);
        Self {
            transaction_id: 0.0,
            app,
            tc_url,
            client: printable(text_of(object, "flashVer")),
            object_encoding: if object_encoding == 3.0 { 3 } else { 0 },
            enhanced: Enhanced::parse(object).map(Box::new),
        }
    }

    /// Replaces the path of the app and keeps its parameters.
    pub(super) fn replace_app(&mut self, name: &StreamName) {
        let (_, query) = path_and_query(&self.app, &self.tc_url);
        // `Address::parse` decodes it again.
        let path = name.to_string().replace('%', "%25");
        self.app = if query.is_empty() { path } else { format!("{path}?{query}") };
        self.tc_url = String::new();
    }

    /// The `_result` of a successful `connect`.
    pub fn answer(&self, transaction_id: f64) -> Command {
        let mut properties = vec![
            // FMLE and Flash check it: the version of a Flash Media Server that supports live streams and data.
            ("fmsVer".to_owned(), "FMS/3,5,7,7009".into()),
            ("capabilities".to_owned(), 31.0.into()),
            ("mode".to_owned(), 1.0.into()),
        ];
        if self.enhanced.is_some() {
            // A relay forwards any codec and decodes none.
            let any = || Value::object([("*", f64::from(CAN_FORWARD).into())]);
            properties.push(("videoFourCcInfoMap".to_owned(), any()));
            properties.push(("audioFourCcInfoMap".to_owned(), any()));
        }
        let mut success = information("status", "NetConnection.Connect.Success", "Connection succeeded.");
        if let Value::Object(information) = &mut success {
            // We read commands with AMF3's leading byte, so the client may keep its encoding.
            information.push(("objectEncoding".to_owned(), f64::from(self.object_encoding).into()));
        }
        let mut answer = Command::result(transaction_id, success);
        answer.object = Value::Object(properties);
        answer
    }
}

impl Enhanced {
    /// Each string has up to four bytes and its own allocation.
    fn memory_bytes(&self) -> usize {
        let codecs = self.video.capacity() + self.audio.capacity();
        let entry = size_of::<(String, u8)>() + MIN_ALLOCATION_BYTES;
        size_of::<Self>()
            + codecs * entry
            + self.four_cc_list.capacity() * (size_of::<String>() + MIN_ALLOCATION_BYTES)
    }

    fn parse(object: &Value) -> Option<Self> {
        let four_cc_list = object.get("fourCcList");
        let video = object.get("videoFourCcInfoMap");
        let audio = object.get("audioFourCcInfoMap");
        let capabilities = object.get("capsEx");
        four_cc_list.or(video).or(audio).or(capabilities)?;
        Some(Self {
            four_cc_list: four_cc_list.map(list).unwrap_or_default(),
            video: video.map(map).unwrap_or_default(),
            audio: audio.map(map).unwrap_or_default(),
            capabilities: capabilities.and_then(Value::as_number).unwrap_or(0.0) as u32,
        })
    }
}

/// A strict array of FourCCs. Some encoders send an object with the indices as names, or one string.
fn list(value: &Value) -> Vec<String> {
    let entries: Vec<&Value> = match value {
        Value::StrictArray(values) => values.iter().collect(),
        Value::String(_) => vec![value],
        other => other.properties().into_iter().flatten().map(|(_, value)| value).collect(),
    };
    entries
        .into_iter()
        .filter_map(Value::as_str)
        .filter(is_four_cc)
        .map(str::to_owned)
        .take(MAX_CODECS)
        .collect()
}

fn map(value: &Value) -> Vec<(String, u8)> {
    let entries = value.properties().into_iter().flatten();
    entries
        .filter(|(four_cc, _)| is_four_cc(&four_cc.as_str()))
        .filter_map(|(four_cc, mask)| Some((four_cc.clone(), mask.as_number()? as u8)))
        .take(MAX_CODECS)
        .collect()
}

fn is_four_cc(text: &&str) -> bool {
    matches!(text.len(), 1..=4)
}

fn app_of(object: &Value) -> String {
    truncated(text_of(object, "app"), MAX_TEXT_BYTES)
}

fn tc_url_of(object: &Value) -> String {
    let text = |key| object.get(key).and_then(Value::as_str);
    let tc_url = text("tcUrl").or(text("tcurl")).unwrap_or_default();
    truncated(tc_url, MAX_TEXT_BYTES + MAX_AUTHORITY_BYTES)
}

fn text_of<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The text up to `max` bytes and one character more, so that the address check still refuses a longer one.
pub(super) fn truncated(text: &str, max: usize) -> String {
    let end = text.char_indices().map(|(at, _)| at).find(|&at| at > max);
    text[..end.unwrap_or(text.len())].to_owned()
}

/// The first 64 characters without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Real clients send 10 to 40.
const MAX_FLASH_VER_BYTES: usize = 255;
/// The length of a URL that browsers and proxies agree on.
const MAX_URL_BYTES: usize = 2048;
/// `rtmp://host:port/`, with a name of 253 bytes.
const MAX_AUTHORITY_BYTES: usize = 280;
/// The smallest allocation.
const MIN_ALLOCATION_BYTES: usize = 16;
/// Enhanced RTMP v2 defines 12.
const MAX_CODECS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_keeps_the_enhanced_rtmp_properties() {
        let connect = Connect::of_object(&Value::object([
            ("app", "live".into()),
            ("tcUrl", "rtmp://host/live".into()),
            ("flashVer", "FMLE/3.0\n(compatible)".into()),
            (
                "fourCcList",
                Value::StrictArray(vec!["av01".into(), "hvc1".into(), 7.0.into(), "toolong".into()]),
            ),
            ("videoFourCcInfoMap", Value::object([("*", 4.0.into()), ("avc1", 3.0.into())])),
            ("audioFourCcInfoMap", Value::ecma_array([("Opus", 1.0.into())])),
            ("capsEx", 5.0.into()),
        ]));
        assert_eq!((connect.app.as_str(), connect.tc_url.as_str()), ("live", ""));
        assert_eq!(connect.client, "FMLE/3.0(compatible)");
        let enhanced = connect.enhanced.clone().unwrap();
        assert_eq!(enhanced.four_cc_list, ["av01", "hvc1"]);
        assert_eq!(
            enhanced.video,
            [("*".to_owned(), CAN_FORWARD), ("avc1".to_owned(), CAN_DECODE | CAN_ENCODE)]
        );
        assert_eq!(enhanced.audio, [("Opus".to_owned(), CAN_DECODE)]);
        assert_eq!(enhanced.capabilities, 5);
        let answer = connect.answer(1.0);
        let maps = ["videoFourCcInfoMap", "audioFourCcInfoMap"];
        assert!(maps.iter().all(|map| answer.object.get(map).unwrap().get("*") == Some(&4.0.into())));
    }

    #[test]
    fn an_address_that_is_too_long_is_truncated_and_still_refused() {
        use crate::rtmp::name::Address;
        let connect = |app: &str, tc_url: &str| {
            Connect::of_object(&Value::object([("app", app.into()), ("tcUrl", tc_url.into())]))
        };
        let longest = format!("{}?{}", "%6C".repeat(255), "q".repeat(4096));
        assert_eq!(connect(&longest, "").app, longest);
        assert!(Address::parse(&longest, "", "").is_ok());
        for more in ["x", "é", &"x".repeat(60_000)] {
            let kept = connect(&(longest.clone() + more), "");
            assert!(kept.app.len() <= longest.len() + 2);
            assert!(Address::parse(&kept.app, "", "").is_err());
            let kept = connect("", &format!("rtmp://host/{longest}{}", more.repeat(300)));
            assert!(kept.tc_url.len() < 5_300);
            assert!(Address::parse("", &kept.tc_url, "").is_err());
        }
    }

    #[test]
    fn a_client_without_enhanced_rtmp_gets_no_enhanced_rtmp_properties() {
        let connect = Connect::of_object(&Value::object([("tcurl", "rtmp://host/live".into())]));
        assert_eq!(connect.tc_url, "rtmp://host/live");
        assert_eq!(connect.enhanced, None);
        assert_eq!(connect.answer(1.0).object.get("videoFourCcInfoMap"), None);
        assert_eq!(Connect::of_object(&Value::Null), Connect::default());
    }

    #[test]
    fn four_cc_list_may_be_an_asterisk() {
        let star = |value| {
            Connect::of_object(&Value::object([("fourCcList", value)])).enhanced.unwrap().four_cc_list
        };
        assert_eq!(star("*".into()), ["*"]);
        assert_eq!(star(Value::StrictArray(vec!["*".into()])), ["*"]);
        assert_eq!(star(Value::object([("0", "*".into())])), ["*"]);
    }
}

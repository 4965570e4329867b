//! The fields of a line of text. Texts of peers are in quotation marks and cannot leave them; letters of every script are
//! written as they are, combining marks among them, and whatever moves a cursor or hides text is escaped.

use std::fmt::{self, Display};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::{RecordFields, VisitOutput},
    fmt::{
        FormatFields,
        format::{DefaultVisitor, Writer},
    },
};

/// Formats fields for people.
pub(super) struct TextFields;

struct Visitor<'a>(DefaultVisitor<'a>);

impl<'a> FormatFields<'a> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'a>, fields: R) -> fmt::Result {
        let mut visitor = Visitor(DefaultVisitor::new(writer, true));
        fields.record(&mut visitor);
        visitor.0.finish()
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, text: &str) {
        match field.name() {
            "message" => self.0.record_str(field, text),
            _ => self.0.record_debug(field, &format_args!("{}", Quoted(text))),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.record_debug(field, value);
    }

    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        self.0.record_error(field, error);
    }
}

/// A text in quotation marks. `Debug` of a string escapes combining marks too, and Thai or Hindi names are unreadable.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of combining marks this escapes only one at the start, which would be drawn over the quotation mark.
        let escaped = self.0.escape_debug().to_string();
        // An apostrophe needs no escape between quotation marks.
        write!(f, "\"{}\"", escaped.replace("\\'", "'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_script_are_written_as_they_are() {
        for name in
            ["live/ทดสอบวิดีโอ", "live/परीक्षण", "live/é e\u{301}", "live/日本語", "live/it's ทดสอบ'ิ", "ข่าว"]
        {
            assert_eq!(Quoted(name).to_string(), format!("\"{name}\""));
        }
    }

    #[test]
    fn what_ends_a_quotation_or_moves_a_cursor_or_hides_text_is_escaped() {
        let hostile =
            "\n\r\u{1b}[2J\u{7}\"\\\u{202e}\u{2066}\u{61c}\u{2028}\u{85}\u{200b}\u{200d}\u{feff}\0\u{9b}";
        let written = Quoted(hostile).to_string();
        assert!(written.chars().all(|c| c.is_ascii_graphic()), "{written}");
        assert_eq!(written.matches('"').count(), 3, "the two outer ones and an escaped one: {written}");
        assert!(written.contains("\\\""), "{written}");
        // A mark that would be drawn over the quotation mark.
        assert_eq!(Quoted("\u{e31}a").to_string(), "\"\\u{e31}a\"");
    }
}

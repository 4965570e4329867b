//! What the relay reports of a certificate: a name and from when until when it is valid (RFC 5280 §4.1). Reads only as much
//! of DER as that takes; what it verifies is up to clients.

use time::{Date, Month};

/// What a certificate says of itself. Times are in Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The first host name that it is for, if there is one.
    pub name: Option<String>,
    /// From when on it is valid.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
}

impl Facts {
    /// Reads them; nothing if it is no certificate.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let mut outer = Der(certificate);
        let mut fields = Der(Der(outer.next(SEQUENCE)?).next(SEQUENCE)?);
        // The version, the number, the algorithm and the issuer.
        fields.skip(VERSION);
        fields.next(INTEGER)?;
        fields.next(SEQUENCE)?;
        fields.next(SEQUENCE)?;
        let mut validity = Der(fields.next(SEQUENCE)?);
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        // The subject and its key.
        fields.next(SEQUENCE)?;
        fields.next(SEQUENCE)?;
        fields.skip(ISSUER_ID);
        fields.skip(SUBJECT_ID);
        Some(Self { name: fields.next(EXTENSIONS).and_then(first_name), not_before, not_after })
    }

    /// When it should be renewed: when two thirds of its time are over, or up to a twentieth of it earlier, by a number that
    /// differs between certificates.
    pub fn renew_at(&self, jitter: u16) -> i64 {
        let lifetime = (self.not_after - self.not_before).max(0);
        self.not_before + lifetime / 3 * 2 - lifetime / 20 * i64::from(jitter) / i64::from(u16::MAX)
    }
}

/// The first name in the extension subjectAltName (RFC 5280 §4.2.1.6).
fn first_name(extensions: &[u8]) -> Option<String> {
    let mut extensions = Der(Der(extensions).next(SEQUENCE)?);
    while let Some(extension) = extensions.next(SEQUENCE) {
        let mut extension = Der(extension);
        if extension.next(OBJECT_ID)? == SUBJECT_ALT_NAME {
            extension.skip(BOOLEAN);
            let mut names = Der(Der(extension.next(OCTET_STRING)?).next(SEQUENCE)?);
            while let Some((tag, content)) = names.any() {
                if tag == DNS_NAME {
                    return String::from_utf8(content.to_vec()).ok();
                }
            }
        }
    }
    None
}

/// Elements, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, which has this tag.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.any()?;
        (found == tag).then_some(content)
    }

    fn skip(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.any();
        }
    }

    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, first, rest @ ..] = self.0 else { return None };
        let (len, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            // Longer ones are in as many bytes.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((*tag, content))
    }

    /// In Unix seconds. Years of two digits begin with 1950.
    fn time(&mut self) -> Option<i64> {
        let (tag, content) = self.any()?;
        let digits = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
        let (year, rest) = digits.split_at_checked(if tag == UTC_TIME { 2 } else { 4 })?;
        let year: i32 = year.parse().ok()?;
        let year = match tag {
            UTC_TIME => year + if year < 50 { 2000 } else { 1900 },
            GENERALIZED_TIME => year,
            _ => return None,
        };
        let part = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
        let date = Date::from_calendar_date(year, Month::try_from(part(0)?).ok()?, part(2)?).ok()?;
        Some(date.with_hms(part(4)?, part(6)?, part(8)?).ok()?.assume_utc().unix_timestamp())
    }
}

// Tags (X.690 §8.1.2), those of the certificate's own fields in brackets.
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// [0]
const VERSION: u8 = 0xa0;
/// [1]
const ISSUER_ID: u8 = 0x81;
/// [2]
const SUBJECT_ID: u8 = 0x82;
/// [3]
const EXTENSIONS: u8 = 0xa3;
/// [2] of a general name.
const DNS_NAME: u8 = 0x82;
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(names: &[&str], from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_s_name_and_dates_are_read() {
        let der = certificate(&["192.0.2.7", "a.example", "b.example"], (2026, 2, 28), (2026, 3, 1));
        let facts = Facts::of(&der).unwrap();
        assert_eq!(facts.name.as_deref(), Some("a.example"));
        assert_eq!((facts.not_before, facts.not_after), (1_772_236_800, 1_772_323_200));
        // After 2049 years have four digits.
        let facts = Facts::of(&certificate(&[], (1999, 12, 31), (2120, 1, 1))).unwrap();
        assert_eq!((facts.name, facts.not_before, facts.not_after), (None, 946_598_400, 4_733_510_400));
    }

    #[test]
    fn no_part_of_a_certificate_and_no_other_bytes_are_taken_for_one() {
        let der = certificate(&["a.example"], (2026, 1, 1), (2027, 1, 1));
        for len in 0..der.len() {
            assert_eq!(Facts::of(&der[..len]), None, "{len}");
        }
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut changed = der.clone();
                changed[at] ^= 1 << bit;
                let _ = Facts::of(&changed);
            }
        }
    }

    #[test]
    fn it_is_renewed_when_two_thirds_are_over_or_a_little_earlier() {
        let facts = Facts { name: None, not_before: 1_000, not_after: 1_000 + 90 * 86_400 };
        let day = |jitter| (facts.renew_at(jitter) - 1_000) as f64 / 86_400.0;
        assert_eq!((day(0), day(u16::MAX)), (60.0, 55.5));
    }
}

//! Where a player begins, as the configuration and the address of a stream name it. There is this one parser.

#![forbid(unsafe_code)]

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Where in a live stream a player begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the newest key frame, with all that came since, at once.
    KeyFrame,
    /// At the next key frame: a little later, and nearer to what happens now.
    Live,
}

/// A value that names no place to begin. It is not repeated here: it comes from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("start must be keyframe or live")]
pub struct InvalidStart;

impl Start {
    /// What the value of an address's `start` parameter asks for; none where it leaves the choice to the operator.
    ///
    /// # Errors
    /// The value is neither `keyframe` nor `live`. A number is ignored: players that seek in files append `?start=0`.
    pub fn requested(parameter: Option<&str>) -> Result<Option<Self>, InvalidStart> {
        match parameter {
            Some(value) if value.parse::<f64>().is_ok_and(f64::is_finite) => Ok(None),
            Some(value) => value.parse().map(Some),
            None => Ok(None),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::KeyFrame => "keyframe",
            Self::Live => "live",
        }
    }
}

impl FromStr for Start {
    type Err = InvalidStart;

    fn from_str(text: &str) -> Result<Self, InvalidStart> {
        [Self::KeyFrame, Self::Live].into_iter().find(|start| start.name() == text).ok_or(InvalidStart)
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(all(test, not(fanfare_loom)))]
mod tests {
    use super::*;

    #[test]
    fn both_values_are_read_as_they_are_written() {
        for start in [Start::KeyFrame, Start::Live] {
            assert_eq!(start.to_string().parse(), Ok(start));
            assert_eq!(Start::requested(Some(&start.to_string())), Ok(Some(start)));
            let json = serde_json::to_string(&start).unwrap();
            assert_eq!(serde_json::from_str::<Start>(&json).unwrap(), start);
        }
    }

    #[test]
    fn an_invalid_value_is_an_error_that_names_the_valid_ones() {
        for text in ["", "Live", "nonsense", "keyframe ", "live&x", "NaN", "inf"] {
            let error = Start::requested(Some(text)).unwrap_err();
            assert_eq!(error.to_string(), "start must be keyframe or live", "{text}");
            let in_json = serde_json::from_value::<Start>(text.into()).unwrap_err();
            assert_eq!(in_json.to_string(), error.to_string());
        }
    }

    #[test]
    fn the_seek_position_of_a_file_player_leaves_the_choice_to_the_operator() {
        for parameter in [None, Some("0"), Some("12.5")] {
            assert_eq!(Start::requested(parameter), Ok(None));
        }
        assert!("0".parse::<Start>().is_err(), "in a configuration it is a mistake");
    }
}

//! What a decoder's configuration says to a person or a browser. Anything that is missing, absurd or unknown is none.

/// What a video sequence header says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoConfig {
    /// `avc1.64001F`
    pub codec_string: Option<String>,
    /// Of what is to be shown, pixels.
    pub width: Option<u32>,
    /// Of what is to be shown, pixels.
    pub height: Option<u32>,
    /// Frames a second, where they are said to come evenly.
    pub frame_rate: Option<f64>,
}

/// What an audio sequence header says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AudioConfig {
    /// `mp4a.40.2`
    pub codec_string: Option<String>,
    /// Of what is heard, hertz.
    pub sample_rate: Option<u32>,
    /// Of what is heard.
    pub channels: Option<u8>,
}

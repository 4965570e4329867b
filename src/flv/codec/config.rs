//! What a decoder's configuration says to a person or a browser. Anything that is missing, absurd or unknown is none.

/// What a video sequence header says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoConfig {
    /// `avc1.64001F`
    pub codec_string: Option<String>,
    /// Of the visible part, pixels.
    pub width: Option<u32>,
    /// Of the visible part, pixels.
    pub height: Option<u32>,
    /// Frames per second, where the rate is constant.
    pub frame_rate: Option<f64>,
}

/// What an audio sequence header says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AudioConfig {
    /// `mp4a.40.2`
    pub codec_string: Option<String>,
    /// Of the decoded audio, hertz.
    pub sample_rate: Option<u32>,
    /// Of the decoded audio.
    pub channels: Option<u8>,
}

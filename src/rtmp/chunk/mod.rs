//! The chunk layer (RTMP 1.0 §5.3).

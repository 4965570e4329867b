//! AMF0 values to bytes and back.

//! Writes JSON objects whose members have an order.

/// An object that is being written, without spaces.
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self("{".to_owned())
    }

    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.0 += &serde_json::Value::from(value).to_string();
        self
    }

    pub(super) fn number(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        self.0 += &value.to_string();
        self
    }

    pub(super) fn end(self) -> String {
        self.0 + "}"
    }

    fn name(&mut self, name: &str) {
        let separator = if self.0.len() > 1 { "," } else { "" };
        self.0 += &format!("{separator}\"{name}\":");
    }
}

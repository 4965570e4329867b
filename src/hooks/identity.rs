//! Identifiers in requests: of this run of the relay, of its connections and of its streams. Never empty.

use std::{collections::hash_map::RandomState, hash::BuildHasher};

/// Makes identifiers. All of them are other ones after a restart, as a service expects that keeps them in a table.
pub(super) struct Identity {
    /// As SRS's: `vid-` and 7 characters.
    pub server_id: String,
    /// As SRS's: 8 characters.
    pub service_id: String,
    run: String,
    seed: RandomState,
}

impl Identity {
    pub(super) fn new() -> Self {
        let seed = RandomState::new();
        let part = |name: &str, digits| base_36(seed.hash_one(name), digits);
        let (server_id, service_id, run) = (part("server", 7), part("service", 8), part("run", 8));
        Self { server_id: format!("vid-{server_id}"), service_id, run, seed }
    }

    /// Of a connection: its number in the log, and what distinguishes it from the same number of another run.
    pub(super) fn client_id(&self, connection: u64) -> String {
        format!("{connection}-{}", self.run)
    }

    /// Of a connection, in the form of a random UUID (RFC 9562 §5.4). The last group is its number in the log.
    pub(super) fn uuid(&self, connection: u64) -> String {
        let random = self.seed.hash_one(("uuid", connection));
        let (a, b, c) = (random >> 32, (random >> 16) & 0xffff, (random >> 4) & 0xfff);
        let d = 0x8000 | self.seed.hash_one(("variant", connection)) & 0x3fff;
        format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{:012x}", connection & 0xffff_ffff_ffff)
    }

    /// Of a stream, the same as long as the relay runs.
    pub(super) fn stream_id(&self, name: &str) -> String {
        format!("vid-{}", base_36(self.seed.hash_one(("stream", name)), 7))
    }
}

fn base_36(mut number: u64, digits: usize) -> String {
    let digit = |_| {
        let digit = char::from_digit((number % 36) as u32, 36);
        number /= 36;
        digit
    };
    (0..digits).filter_map(digit).collect()
}

#[cfg(test)]
impl Identity {
    /// One whose identifiers do not change from run to run, apart from those of streams and the UUIDs.
    pub(super) fn fixed() -> Self {
        let text = str::to_owned;
        Self {
            server_id: text("vid-0xk989d"),
            service_id: text("382k890r"),
            run: text("341w361a"),
            ..Self::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_look_like_those_of_the_servers_and_differ_between_runs() {
        let (one, other) = (Identity::new(), Identity::new());
        assert_eq!((one.server_id.len(), one.service_id.len(), one.stream_id("live/a").len()), (11, 8, 11));
        assert_ne!(one.server_id, other.server_id);
        assert_eq!(one.stream_id("live/a"), one.stream_id("live/a"));
        assert_ne!(one.stream_id("live/a"), one.stream_id("live/b"));
        assert_ne!(one.client_id(1), other.client_id(1));
        assert!(one.client_id(12).starts_with("12-"));
        let uuid = one.uuid(0x12);
        let groups: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{uuid}");
        assert!(uuid.ends_with("-000000000012") && uuid.as_bytes()[14] == b'4', "{uuid}");
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
        assert_ne!(uuid, other.uuid(0x12));
    }
}

//! What becomes of an option of another server, as far as its name alone decides it. docs/migrating.md has the same tables.

use super::draft::{Draft, Place};

/// An option of another server.
pub(super) struct Known {
    /// With `*` at its end all that begin so.
    pub name: &'static str,
    pub fate: Fate,
}

#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// Becomes these options.
    Carried(&'static [&'static str]),
    /// Needs no option: what fanfare does in any case.
    Same(&'static str),
    /// fanfare has nothing like it: what to do instead.
    Lost(&'static str),
    /// Of a part that fanfare does not have: what to do instead.
    Part(&'static str),
}

pub(super) const fn carried(name: &'static str, keys: &'static [&'static str]) -> Known {
    Known { name, fate: Fate::Carried(keys) }
}

pub(super) const fn same(name: &'static str, why: &'static str) -> Known {
    Known { name, fate: Fate::Same(why) }
}

pub(super) const fn lost(name: &'static str, why: &'static str) -> Known {
    Known { name, fate: Fate::Lost(why) }
}

pub(super) const fn part(name: &'static str, why: &'static str) -> Known {
    Known { name, fate: Fate::Part(why) }
}

impl Known {
    fn is(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => self.name == name,
        }
    }
}

/// What becomes of an option by its name; its full name comes before one that ends with `*`.
pub(super) fn fate(known: &[Known], name: &str) -> Option<Fate> {
    let exact = known.iter().find(|it| it.name == name);
    exact.or_else(|| known.iter().filter(|it| it.is(name)).max_by_key(|it| it.name.len())).map(|it| it.fate)
}

/// Adds the remark about an option by its name; `is_off`: it is turned off there as well.
pub(super) fn explain(known: &[Known], name: &str, is_off: bool, place: Place, draft: &mut Draft) {
    match fate(known, name) {
        Some(Fate::Same(why)) => draft.same(place, why),
        Some(Fate::Lost(_) | Fate::Part(_)) if is_off => draft.same(place, OFF),
        Some(Fate::Lost(why)) => draft.lose(place, why),
        Some(Fate::Part(why)) => draft.part(place, why),
        Some(Fate::Carried(keys)) => {
            draft.lose(place, format!("it has no effect in this place; elsewhere it is {}", keys.join(", ")));
        }
        None => draft.lose(place, "fanfare has nothing like it"),
    }
}

/// Why nothing is needed for what was off.
pub(super) const OFF: &str = "off, or nothing";

/// Of a variable of the environment.
pub(super) const NOT_READ_VARIABLE: &str = "this variable is not read: write its value into the file";

/// Of an address.
pub(super) const VARIABLE: &str = "a variable: write its value, or set it in [listen]";

/// Of a rule that is only suggested.
pub(super) const FROM_HERE: &str = "What takes its place runs on this machine: remove the # to let it in, unless a proxy here passes clients on.";

pub(super) const PUSH: &str = "fanfare does not push: packaging/examples/push-on has a systemd unit that does, fanfare-push@.service, with FFmpeg";
pub(super) const PULL: &str =
    "fanfare does not pull: run `ffmpeg -i SOURCE -c copy -f flv rtmp://127.0.0.1/APP/NAME` as a service";
pub(super) const RECORD: &str =
    "fanfare does not record: run `ffmpeg -i rtmp://127.0.0.1/APP/NAME -c copy FILE.flv` as a service";
pub(super) const TRANSCODE: &str = "fanfare does not transcode: run FFmpeg as a service that plays from fanfare and publishes to it under another name";
pub(super) const EXEC: &str =
    "fanfare starts no programs: let a service of yours follow /api/v1/events, or [hooks]";

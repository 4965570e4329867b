//! The message streams of one connection: which ids `createStream` has given out, and what is published on each. Several
//! streams may be: an encoder with several bit rates publishes each under its own name.

use crate::rtmp::name::StreamName;

/// Identifies a message stream of a connection. 0 is the connection itself.
pub type MessageStreamId = u32;

/// The message streams of a connection. Uses no heap while nothing is published.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Bit n - 1 is set while message stream n exists.
    given: u64,
    /// The message stream that was created last.
    newest: MessageStreamId,
    publications: Vec<PublishedStream>,
}

/// A stream that the peer publishes.
#[derive(Debug)]
pub(super) struct PublishedStream {
    pub id: MessageStreamId,
    /// The name that the client uses.
    name: StreamName,
    /// The name that players use, if it is another one: the client may know it, and use either.
    other_name: Option<Box<StreamName>>,
}

impl Streams {
    /// Gives out the lowest free id. The first one is 1: encoders that ignore the answer rely on it. None if there are
    /// [`MAX_CREATED_STREAMS`] already.
    pub fn create(&mut self) -> Option<MessageStreamId> {
        let free = self.given.trailing_ones();
        (free < MAX_CREATED_STREAMS).then(|| {
            self.given |= 1 << free;
            self.newest = free + 1;
            self.newest
        })
    }

    /// The id may be given out again.
    pub fn delete(&mut self, id: MessageStreamId) {
        if let Some(bit) = id.checked_sub(1).filter(|&bit| bit < MAX_CREATED_STREAMS) {
            self.given &= !(1 << bit);
        }
    }

    /// The message stream that a `publish` or `play` on `id` is about. Some encoders send them on 0 and mean the message
    /// stream that they have just created, or 1 if they have created none.
    pub fn meant_by(&self, id: MessageStreamId) -> MessageStreamId {
        if id == 0 { self.newest.max(1) } else { id }
    }

    /// Begins to publish. The previous publish on this message stream must have ended.
    pub fn publish(&mut self, id: MessageStreamId, name: StreamName, other_name: Option<StreamName>) {
        debug_assert!(!self.is_published(id));
        self.publications.push(PublishedStream { id, name, other_name: other_name.map(Box::new) });
    }

    /// Ends the publish on this message stream.
    pub fn end(&mut self, id: MessageStreamId) -> Option<PublishedStream> {
        let at = self.publications.iter().position(|it| it.id == id)?;
        let ended = self.publications.remove(at);
        if self.publications.is_empty() {
            self.publications = Vec::new();
        }
        Some(ended)
    }

    /// Ends all.
    pub fn end_all(&mut self) -> Vec<PublishedStream> {
        std::mem::take(&mut self.publications)
    }

    /// Whether a stream is published on this message stream.
    pub fn is_published(&self, id: MessageStreamId) -> bool {
        self.publications.iter().any(|it| it.id == id)
    }

    /// The message stream that publishes this name. The names that the client uses take precedence.
    pub fn named(&self, name: &StreamName) -> Option<MessageStreamId> {
        let by_name = self.publications.iter().find(|it| it.name == *name);
        let by_other = || self.publications.iter().find(|it| it.other_name.as_deref() == Some(name));
        by_name.or_else(by_other).map(|it| it.id)
    }

    /// The message stream of the only publish; none if there are several.
    pub fn only(&self) -> Option<MessageStreamId> {
        match self.publications.as_slice() {
            [only] => Some(only.id),
            _ => None,
        }
    }

    /// The message stream whose publish gets the media that arrives on `id`. Some clients send all media on 0: that
    /// belongs to the only publish.
    pub fn media_of(&self, id: MessageStreamId) -> Option<MessageStreamId> {
        let id = if id == 0 { self.only()? } else { id };
        self.is_published(id).then_some(id)
    }

    /// How many streams are published.
    pub fn published_count(&self) -> usize {
        self.publications.len()
    }

    /// Memory on the heap, bytes.
    pub fn memory_bytes(&self) -> usize {
        let text = |name: &StreamName| name.app.capacity() + name.name.capacity();
        let names = self.publications.iter().map(|it| {
            text(&it.name) + it.other_name.as_ref().map_or(0, |name| size_of::<StreamName>() + text(name))
        });
        self.publications.capacity() * size_of::<PublishedStream>() + names.sum::<usize>()
    }
}

/// Message streams that a connection may have at a time. It can delete those that it no longer needs. Real clients have
/// up to three.
pub const MAX_CREATED_STREAMS: u32 = u64::BITS;

/// Streams that a connection may publish at a time. Encoders with several bit rates publish three to six.
pub const MAX_PUBLICATIONS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> StreamName {
        StreamName { app: "live".into(), name: name.into() }
    }

    #[test]
    fn an_id_is_given_out_again_only_after_it_is_deleted() {
        let mut streams = Streams::default();
        let given: Vec<_> = (0..MAX_CREATED_STREAMS).map(|_| streams.create().unwrap()).collect();
        assert_eq!(given, (1..=64).collect::<Vec<_>>());
        assert_eq!(streams.create(), None);
        for invalid in [0, 65, u32::MAX] {
            streams.delete(invalid);
            assert_eq!(streams.create(), None);
        }
        streams.delete(7);
        assert_eq!((streams.create(), streams.create()), (Some(7), None));
    }

    #[test]
    fn id_0_means_the_newest_stream_or_the_only_publish() {
        let mut streams = Streams::default();
        assert_eq!(streams.meant_by(0), 1);
        streams.create();
        streams.create();
        assert_eq!((streams.meant_by(0), streams.meant_by(1)), (2, 1));
        assert_eq!(streams.media_of(0), None);
        streams.publish(1, name("a"), None);
        assert_eq!((streams.media_of(0), streams.media_of(1), streams.media_of(2)), (Some(1), Some(1), None));
        streams.publish(2, name("b"), None);
        assert_eq!((streams.media_of(0), streams.named(&name("b"))), (None, Some(2)));
        assert!(streams.end(1).is_some() && streams.end(1).is_none());
        assert_eq!(streams.media_of(0), Some(2));
        streams.end_all();
        assert_eq!(streams.memory_bytes(), 0);
    }

    #[test]
    fn a_stream_is_found_by_either_name_and_the_client_s_name_takes_precedence() {
        let mut streams = Streams::default();
        streams.publish(1, name("a"), Some(name("b")));
        assert_eq!((streams.named(&name("a")), streams.named(&name("b"))), (Some(1), Some(1)));
        streams.publish(2, name("b"), Some(name("c")));
        assert_eq!((streams.named(&name("b")), streams.named(&name("c"))), (Some(2), Some(2)));
        assert_eq!(streams.named(&name("d")), None);
        streams.end(1);
        assert_eq!(streams.named(&name("a")), None);
    }
}

//! What goes into the client (events) and what comes out (actions).
use super::Kind;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What is wanted of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether it is asked for at all.
    pub is_open: bool,
    /// Names, of kinds that are asked for by name.
    pub names: BTreeSet<Arc<str>>,
}

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A stream is there.
    Connected,
    /// A message came: a `DiscoveryResponse`, or a `DeltaDiscoveryResponse`.
    Response(&'a [u8]),
    /// The stream, or the attempt to have one, ended.
    Closed,
    /// What became of an [`Apply`].
    Applied(Kind, Outcome),
    /// What is wanted now.
    Wanted(Kind, Wanted),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write this request.
    Send(Vec<u8>),
    /// Hand this to the store and tell its outcome.
    Apply(Apply),
    /// The peer does not speak the protocol: end the stream, then tell [`Event::Closed`].
    Disconnect(String),
    /// Connect again after this long.
    Reconnect(Duration),
}

/// The content of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apply {
    /// Of what kind.
    pub kind: Kind,
    /// New and changed.
    pub resources: Vec<RawResource>,
    /// Gone.
    pub removed: Vec<String>,
    /// What is not among `resources` is gone too (state of the world, LDS, CDS and SRDS).
    pub is_whole: bool,
}

/// A resource as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawResource {
    /// From its wrapper; empty when there was none.
    pub name: String,
    /// Its own, or the response's.
    pub version: String,
    /// The message.
    pub bytes: Vec<u8>,
}

/// What became of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Names and versions that are held now.
    pub accepted: Vec<(Arc<str>, String)>,
    /// Names that are held no more.
    pub removed: Vec<Arc<str>>,
    /// Names that are refused, and why; the resource's former version is held on to.
    pub refused: Vec<(String, String)>,
}

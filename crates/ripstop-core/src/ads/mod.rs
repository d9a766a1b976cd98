//! The client's side of xDS, without sockets: what is said on an aggregated stream ([`Client`]), and what is made of what
//! comes ([`Store`]).
//!
//! A response goes `Client::step` → [`Action::Apply`] → `Store::apply` → [`Event::Applied`] → [`Action::Send`] of an ACK or
//! NACK. What the store then lacks is told by [`Event::Wanted`]. `Store::settle` gives the next snapshot.
mod client;
mod kind;
mod message;
mod needs;
mod store;
#[cfg(test)]
mod tests;
mod warm;
mod wire;

pub use client::{Client, Mode};
pub use kind::Kind;
pub use message::{Action, Apply, Event, Outcome, RawResource, Wanted};
pub use store::{Decoded, Decoder, Saved, Static, Store};
pub use warm::{INITIAL_FETCH_TIMEOUT, Settled};

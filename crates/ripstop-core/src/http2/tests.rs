//! Behaviour of a connection as a peer and a caller see it.
mod conformance;
mod cost;
mod floods;
mod flow;
mod frames;
mod messages;
mod oracle;
mod pair;
mod splits;

//! Behaviour of a connection as a peer and a caller see it.
mod pair;

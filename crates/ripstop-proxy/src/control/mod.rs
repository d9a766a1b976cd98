//! The control thread: everything that is not on the path of a request.
pub mod mailbox;
pub mod stats;

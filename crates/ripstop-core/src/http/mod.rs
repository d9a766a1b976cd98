//! HTTP messages as every codec and every decision sees them, whatever version they came by.
mod head;
mod headers;
mod known;

pub use head::{BodyLength, Method, RequestHead, ResponseHead, Version};
pub(crate) use headers::Span;
pub use headers::{Field, Headers};
pub use known::HeaderId;

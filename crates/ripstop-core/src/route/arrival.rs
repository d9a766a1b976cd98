//! What a connection manager says of how a request arrived, before routes look at it.
use crate::http::{HeaderId, RequestHead};
use crate::snapshot::HttpManager;

/// Set the scheme and `x-forwarded-proto` (Envoy: "HTTP header manipulation", `use_remote_address`): a stranger is believed
/// neither these nor what Envoys say to each other (`x-envoy-*`).
pub fn set_scheme(head: &mut RequestHead, manager: &HttpManager, is_tls: bool) {
    let own_scheme: &[u8] = if is_tls { b"https" } else { b"http" };
    if manager.use_remote_address {
        head.headers.set(HeaderId::XForwardedProto, own_scheme);
        head.headers.retain(|field| !field.name.starts_with(b"x-envoy-"));
    } else if !head.headers.has(HeaderId::XForwardedProto) {
        head.headers.push_known(HeaderId::XForwardedProto, own_scheme);
    }
    if head.scheme().is_empty() {
        head.set_scheme(own_scheme);
    }
}

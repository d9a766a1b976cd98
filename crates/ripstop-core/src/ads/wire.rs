//! Requests and responses as bytes, of both protocols.
use super::{Apply, Kind, RawResource};
use prost::Message;
use ripstop_xds::envoy::config::core::v3::Node;
use ripstop_xds::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use ripstop_xds::google::rpc::Status;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `google.rpc.Code.INVALID_ARGUMENT`
const INVALID_ARGUMENT: i32 = 3;
/// A longer text of a NACK is cut.
const ERROR_LENGTH: usize = 16 * 1024;
const WRAPPER: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";

/// A response that was read.
pub(super) struct Received {
    pub nonce: String,
    /// State of the world: the version that is said back.
    pub version: String,
    pub apply: Apply,
}

/// A request, before it is known which protocol is spoken.
pub(super) struct Request<'a> {
    pub node: Option<&'a Node>,
    pub kind: Kind,
    pub nonce: &'a str,
    /// Why the response is refused.
    pub error: Option<&'a str>,
}

pub(super) fn delta_request(
    request: &Request,
    subscribe: impl IntoIterator<Item = Arc<str>>,
    unsubscribe: impl IntoIterator<Item = Arc<str>>,
    initial: BTreeMap<String, String>,
) -> Vec<u8> {
    let names = |names: &mut dyn Iterator<Item = Arc<str>>| names.map(|name| name.to_string()).collect();
    DeltaDiscoveryRequest {
        node: request.node.cloned(),
        type_url: request.kind.url(),
        resource_names_subscribe: names(&mut subscribe.into_iter()),
        resource_names_unsubscribe: names(&mut unsubscribe.into_iter()),
        initial_resource_versions: initial,
        response_nonce: request.nonce.to_owned(),
        error_detail: request.error.map(status),
        ..DeltaDiscoveryRequest::default()
    }
    .encode_to_vec()
}

pub(super) fn sotw_request<'a>(
    request: &Request,
    names: impl IntoIterator<Item = &'a Arc<str>>,
    version: &str,
) -> Vec<u8> {
    DiscoveryRequest {
        version_info: version.to_owned(),
        node: request.node.cloned(),
        resource_names: names.into_iter().map(|name| name.to_string()).collect(),
        type_url: request.kind.url(),
        response_nonce: request.nonce.to_owned(),
        error_detail: request.error.map(status),
        ..DiscoveryRequest::default()
    }
    .encode_to_vec()
}

fn status(message: &str) -> Status {
    let mut end = message.len().min(ERROR_LENGTH);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    Status { code: INVALID_ARGUMENT, message: message[..end].to_owned(), details: Vec::new() }
}

/// None: of a type that was never asked for.
pub(super) fn delta_response(bytes: &[u8]) -> Result<Option<Received>, String> {
    let response = DeltaDiscoveryResponse::decode(bytes).map_err(|error| error.to_string())?;
    let Some(kind) = Kind::of(&response.type_url) else { return Ok(None) };
    let mut removed = response.removed_resources;
    removed.extend(response.removed_resource_names.into_iter().map(|name| name.name));
    let resources = response.resources.into_iter().filter_map(unwrap).collect();
    let apply = Apply { kind, resources, removed, is_whole: false };
    Ok(Some(Received { nonce: response.nonce, version: response.system_version_info, apply }))
}

pub(super) fn sotw_response(bytes: &[u8]) -> Result<Option<Received>, String> {
    let response = DiscoveryResponse::decode(bytes).map_err(|error| error.to_string())?;
    let Some(kind) = Kind::of(&response.type_url) else { return Ok(None) };
    let mut resources = Vec::new();
    for any in response.resources {
        if any.type_url == WRAPPER {
            let wrapped = Resource::decode(&*any.value).map_err(|error| error.to_string())?;
            resources.extend(unwrap(wrapped));
        } else {
            let version = response.version_info.clone();
            resources.push(RawResource { name: String::new(), version, bytes: any.value });
        }
    }
    let apply = Apply { kind, resources, removed: Vec::new(), is_whole: kind.is_wildcard() };
    Ok(Some(Received { nonce: response.nonce, version: response.version_info, apply }))
}

/// None: a heartbeat, which says only that the resource still lives (TTL).
fn unwrap(resource: Resource) -> Option<RawResource> {
    let bytes = resource.resource?.value;
    Some(RawResource { name: resource.name, version: resource.version, bytes })
}

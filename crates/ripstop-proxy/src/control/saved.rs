//! The last accepted resources on disk, so that a sidecar can start while the control plane is away. Never secrets.
//!
//! The file is a line that says what it is, then one `DeltaDiscoveryResponse` for each kind, each after its length (varint).
use prost::Message;
use prost_types::Any;
use ripstop_core::ads::{Apply, Kind, RawResource, Saved};
use ripstop_xds::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const MAGIC: &[u8] = b"ripstop snapshot 1\n";

/// The content of a file.
pub fn encode(resources: Vec<Saved>) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for kind in Kind::ALL {
        let of_kind = resources.iter().filter(|saved| saved.kind == kind);
        let resources: Vec<Resource> = of_kind.map(|saved| wrap(kind, &saved.resource)).collect();
        if !resources.is_empty() {
            let response = DeltaDiscoveryResponse { type_url: kind.url(), resources, ..Default::default() };
            out.extend(response.encode_length_delimited_to_vec());
        }
    }
    out
}

fn wrap(kind: Kind, resource: &RawResource) -> Resource {
    Resource {
        name: resource.name.clone(),
        version: resource.version.clone(),
        resource: Some(Any { type_url: kind.url(), value: resource.bytes.clone() }),
        ..Default::default()
    }
}

/// What a file says.
///
/// # Errors
/// It is no such file, or cut off.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<Apply>, String> {
    bytes = bytes.strip_prefix(MAGIC).ok_or("is no snapshot of this version")?;
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let response =
            DeltaDiscoveryResponse::decode_length_delimited(&mut bytes).map_err(|error| error.to_string())?;
        let kind = Kind::of(&response.type_url).ok_or_else(|| format!("holds {}", response.type_url))?;
        let resources = response.resources.into_iter().filter_map(|resource| {
            let bytes = resource.resource?.value;
            Some(RawResource { name: resource.name, version: resource.version, bytes })
        });
        found.push(Apply { kind, resources: resources.collect(), removed: Vec::new(), is_whole: false });
    }
    Ok(found)
}

/// Write it so that there is the old or the new, whatever happens (0600).
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(kind: Kind, name: &str) -> Saved {
        let bytes = name.as_bytes().to_vec();
        Saved { kind, resource: RawResource { name: name.to_owned(), version: "1".to_owned(), bytes } }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let resources =
            vec![saved(Kind::Cluster, "a"), saved(Kind::Cluster, "b"), saved(Kind::Listener, "in")];
        let read = decode(&encode(resources)).expect("a good file");
        let names: Vec<_> =
            read.iter().flat_map(|apply| apply.resources.iter().map(|r| (apply.kind, &*r.name))).collect();
        assert_eq!(names, [(Kind::Cluster, "a"), (Kind::Cluster, "b"), (Kind::Listener, "in")]);
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused() {
        let whole = encode(vec![saved(Kind::Cluster, "a")]);
        assert!(decode(&whole[..whole.len() - 3]).is_err());
        assert!(decode(b"something else").is_err());
    }
}

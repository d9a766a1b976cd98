//! Reads resources for the store, and tries what only a process can: whether a listener's address can be had.
use super::listeners::Sockets;
use ripstop_core::ads::{Decoded, Decoder, Kind};
use ripstop_core::decode::{self, Files, Refused};

/// Files and environment of this machine.
pub struct Machine;

/// The largest file that a resource may name.
const MAX_FILE: u64 = 16 << 20;

impl Files for Machine {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let size = std::fs::metadata(path).map_err(|error| format!("{path}: {error}"))?.len();
        if size > MAX_FILE {
            return Err(format!("{path} has {size} bytes, more than the {MAX_FILE} that are read"));
        }
        std::fs::read(path).map_err(|error| format!("{path}: {error}"))
    }

    fn environment(&self, name: &str) -> Result<String, String> {
        std::env::var(name).map_err(|error| format!("{name}: {error}"))
    }
}

/// Decodes, and reserves the addresses of listeners.
pub struct Reader<'a> {
    /// Where listeners' sockets are.
    pub sockets: &'a mut Sockets,
}

impl Decoder for Reader<'_> {
    fn decode(&mut self, kind: Kind, bytes: &[u8]) -> Result<Decoded, (String, String)> {
        match kind {
            Kind::Secret => {
                decode::secret(bytes, &Machine).map(|(name, secret)| Decoded::Secret(name, secret))
            }
            Kind::Cluster => decode::cluster(bytes, &Machine).map(Decoded::Cluster),
            Kind::Endpoint => decode::load_assignment(bytes).map(Decoded::Endpoint),
            Kind::Route => decode::route_configuration(bytes).map(Decoded::Route),
            Kind::ScopedRoute => decode::scoped_route(bytes).map(|(key, route, name)| Decoded::ScopedRoute {
                name,
                key,
                route,
            }),
            Kind::Listener => {
                let listener = decode::listener(bytes, &Machine).map_err(refused)?;
                let reserved = self.sockets.reserve(&listener);
                reserved.map_err(|why| (listener.name.to_string(), format!("address: {why}")))?;
                return Ok(Decoded::Listener(listener));
            }
        }
        .map_err(refused)
    }
}

fn refused(refused: Refused) -> (String, String) {
    let faults: Vec<String> = refused.faults.iter().map(ToString::to_string).collect();
    let name = if refused.resource == "(unreadable)" { String::new() } else { refused.resource };
    (name, faults.join("; "))
}

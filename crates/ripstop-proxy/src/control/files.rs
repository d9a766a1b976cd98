//! File descriptors: a connection needs one, and a request to an HTTP/1 upstream another.
use super::log::log;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of so many descriptors one is kept for what is no downstream connection: upstreams, logs, listeners, the control plane.
const RESERVED: u64 = 8;

/// Let the process have as many descriptors as it may; how many downstream connections that is good for.
pub fn connections_for_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: maximum, maximum };
    let files = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => maximum,
        Err(error) => {
            log!(Warning, "the limit of file descriptors stays: {error}");
            current
        }
    };
    files.map_or(u64::MAX, |files| files - files / RESERVED)
}

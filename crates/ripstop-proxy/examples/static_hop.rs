use ripstop_core::balance::{ClusterState, HostSet};
use ripstop_core::decode;
use ripstop_core::snapshot::*;
use ripstop_core::time::Time;
use ripstop_proxy::control::mailbox::{ListenSocket, ToWorker};
use ripstop_proxy::worker::{WorkerSettings, spawn};
use std::sync::Arc;
use std::time::Instant;

struct Disk;
impl decode::Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|e| e.to_string())
    }
}

fn main() {
    let bytes = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    let boot = decode::bootstrap(&bytes, &Disk).unwrap_or_else(|e| panic!("{e}"));
    let mut snapshot = Snapshot::default();
    for l in &boot.static_listeners {
        snapshot.listeners.insert(l.name.clone(), l.clone());
    }
    for c in &boot.static_clusters {
        snapshot.clusters.insert(c.name.clone(), c.clone());
    }
    let settings =
        WorkerSettings { index: 0, workers: 1, max_connections: 20000, epoch: Instant::now(), seed: 42 };
    let handle = spawn(settings, Arc::default(), Arc::default()).unwrap();
    handle.tell(ToWorker::Snapshot(Arc::new(snapshot)));
    for c in &boot.static_clusters {
        if let Discovery::Static(a) = &c.discovery {
            let set = HostSet::build(c, a, None, Time(0));
            handle.tell(ToWorker::Endpoints {
                cluster: c.name.clone(),
                set: Arc::new(set),
                state: Arc::new(ClusterState::default()),
            });
        }
    }
    for l in &boot.static_listeners {
        let Address::Socket(a) = &l.address else { panic!() };
        let s = socket2::Socket::new(socket2::Domain::for_address(*a), socket2::Type::STREAM, None).unwrap();
        s.set_reuse_address(true).unwrap();
        s.bind(&(*a).into()).unwrap();
        s.listen(4096).unwrap();
        s.set_nonblocking(true).unwrap();
        handle.tell(ToWorker::Listener {
            name: l.name.clone(),
            config: l.clone(),
            sockets: vec![ListenSocket::Tcp(s.into())],
        });
    }
    handle.thread.unwrap().join().unwrap();
}

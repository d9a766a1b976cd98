//! A request over kept-alive connections allocates nothing, with everything on that a mesh turns on.
//!
//! `hop.pb` is `hop.yaml` as bytes: `python crates/ripstop-proxy/tests/hop.py`.
use ripstop_core::balance::{ClusterState, HostSet};
use ripstop_core::decode;
use ripstop_core::snapshot::{Address, Discovery, LoadAssignment, Snapshot};
use ripstop_core::time::Time;
use ripstop_proxy::control::mailbox::{ListenSocket, ToWorker};
use ripstop_proxy::worker::{WorkerSettings, spawn};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[allow(unsafe_code)]
// Counts, and leaves the work to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct NoFiles;

impl decode::Files for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("{path}: no files here"))
    }
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";

/// An upstream that allocates nothing once it has accepted.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer) {
                    if stream.write_all(ANSWER).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn hop(upstream: SocketAddr) -> SocketAddr {
    let boot =
        decode::bootstrap(include_bytes!("hop.pb"), &NoFiles).unwrap_or_else(|refused| panic!("{refused}"));
    let mut snapshot = Snapshot::default();
    let listener = boot.static_listeners[0].clone();
    let cluster = boot.static_clusters[0].clone();
    snapshot.listeners.insert(listener.name.clone(), listener.clone());
    snapshot.clusters.insert(cluster.name.clone(), cluster.clone());
    let Discovery::Static(assignment) = &cluster.discovery else { panic!("a static cluster") };
    let mut assignment = LoadAssignment::clone(assignment);
    assignment.localities[0].endpoints[0].address = Address::Socket(upstream);
    let set = Arc::new(HostSet::build(&cluster, &assignment, None, Time(0)));
    let settings = WorkerSettings {
        index: 0,
        workers: 1,
        max_connections: 100,
        epoch: Instant::now(),
        seed: 1,
        memory: Arc::default(),
    };
    let worker = spawn(settings, Arc::default(), Arc::default()).expect("a worker");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.set_nonblocking(true).expect("non-blocking");
    let address = socket.local_addr().expect("an address");
    let name = cluster.name.clone();
    worker.tell(ToWorker::Snapshot(Arc::new(snapshot)));
    worker.tell(ToWorker::Endpoints { cluster: name, set, state: Arc::new(ClusterState::default()) });
    let (name, sockets) = (listener.name.clone(), vec![ListenSocket::Tcp(socket)]);
    worker.tell(ToWorker::Listener { name, config: listener, sockets });
    std::mem::forget(worker);
    address
}

/// Not of the sample whose decisions are kept: those allocate what they keep.
const LEFT_OUT: &str = "not-of-the-sample";
const SAMPLED: &str = "sampled-112";

fn ask(stream: &mut TcpStream, buffer: &mut [u8], id: &str) {
    let fields = "host: hop\r\nuser-agent: test\r\naccept: */*\r\n";
    let length = {
        let mut rest = &mut *buffer;
        write!(rest, "GET /path?q=1 HTTP/1.1\r\n{fields}x-request-id: {id}\r\n\r\n").expect("room");
        let left = rest.len();
        buffer.len() - left
    };
    stream.write_all(&buffer[..length]).expect("sent");
    let mut got = 0;
    while !buffer[..got].ends_with(b"hello") {
        let read = stream.read(&mut buffer[got..]).expect("an answer");
        assert!(read > 0, "the hop closed the connection: {}", String::from_utf8_lossy(&buffer[..got]));
        got += read;
    }
    assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..got]));
}

#[test]
fn a_request_over_kept_connections_allocates_nothing() {
    const WARM: usize = 2_000;
    const COUNTED: u64 = 5_000;
    let mut stream = TcpStream::connect(hop(upstream())).expect("the hop listens");
    let mut buffer = [0; 4096];
    for _ in 0..WARM {
        ask(&mut stream, &mut buffer, LEFT_OUT);
    }
    let mut count = |id: &str| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..COUNTED {
            ask(&mut stream, &mut buffer, id);
        }
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    let made = count(LEFT_OUT);
    // Log lines go to their writer in blocks of up to 32 KiB, five times a second: a few allocations a block.
    assert!(made * 50 <= COUNTED, "{made} allocations in {COUNTED} requests");
    let made = count(SAMPLED);
    assert!(
        (COUNTED..=10 * COUNTED).contains(&made),
        "{made} allocations for {COUNTED} decisions that are kept"
    );
}

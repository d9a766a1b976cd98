//! The life of the process: start, run until a signal, drain, end.
use super::decoder::Machine;
use super::doors::Doors;
use super::files;
use super::log::{self, log};
use super::mailbox::{ToWorker, WorkerHandle};
use super::options::Options;
use super::plane::{Event, Plane};
use super::stats::WorkerStats;
use crate::memory::Memory;
use crate::worker::{self, WorkerSettings};
use ripstop_core::decode::{self, Bootstrap};
use ripstop_core::policies::rate_limit::Buckets;
use ripstop_core::time::Time;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Downstream connections at a time where the bootstrap names no limit.
const MAX_CONNECTIONS: u64 = 50_000;
/// At most so many events before what they changed is told.
const EVENTS_PER_TURN: usize = 256;
/// How often ending workers are looked at.
const JOIN_INTERVAL: Duration = Duration::from_millis(10);

/// Run with a bootstrap (`config.bootstrap.v3.Bootstrap`) until SIGTERM or SIGINT.
///
/// # Errors
/// Why it cannot start: what is wrong with the bootstrap, which address cannot be had.
pub fn run(bootstrap: Vec<u8>, options: Options) -> Result<(), String> {
    crate::worker::tell_faults_briefly();
    log::set_level(options.log_level);
    let bootstrap = decode::bootstrap(&bootstrap, &Machine).map_err(|refused| refused.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(live(bootstrap, options))
}

async fn live(bootstrap: Bootstrap, options: Options) -> Result<(), String> {
    let fault = |error: std::io::Error| error.to_string();
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    let (sender, mut events) = mpsc::unbounded_channel();
    let mut doors = Doors::new(&bootstrap, &options, sender.clone())?;
    let epoch = Instant::now();
    let seed = seed();
    let buckets = Arc::default();
    let memory = Arc::new(Memory::new(options.memory_limit_mb as u64 * 1024 * 1024));
    let workers = start_workers(&bootstrap, &options, &buckets, &memory, epoch, seed)?;
    let drain = options.drain;
    let mut plane = Plane::new(bootstrap, options, workers, epoch, seed, sender);
    plane.buckets = buckets;
    plane.memory = memory;
    if let Some(sockets) = doors.take_sockets() {
        plane.inherit(sockets);
    }
    plane.reserve_static()?;
    loop {
        plane.turn();
        doors.follow(&mut plane).await?;
        if plane.is_asked_to_quit || plane.relieved.is_some() {
            break;
        }
        let wait = plane.next().since(plane.now());
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { break };
                plane.handle(event);
                for _ in 1..EVENTS_PER_TURN {
                    let Ok(event) = events.try_recv() else { break };
                    plane.handle(event);
                }
            }
            () = tokio::time::sleep(wait.min(Duration::from_secs(3600))) => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    doors.close(&plane).await;
    tokio::select! {
        () = plane.end(drain, &mut events) => {}
        _ = terminate.recv() => log!(Warning, "told to end once more: not waiting for connections"),
        _ = interrupt.recv() => log!(Warning, "told to end once more: not waiting for connections"),
    }
    Ok(())
}

fn start_workers(
    bootstrap: &Bootstrap,
    options: &Options,
    buckets: &Arc<Buckets>,
    memory: &Arc<Memory>,
    epoch: Instant,
    seed: u64,
) -> Result<Vec<WorkerHandle>, String> {
    let workers = options.concurrency;
    let limit = bootstrap.max_connections.unwrap_or(MAX_CONNECTIONS).min(files::connections_for_files());
    let each = usize::try_from(limit).unwrap_or(usize::MAX).div_ceil(workers);
    (0..workers)
        .map(|index| {
            let settings = WorkerSettings {
                index,
                workers,
                max_connections: each,
                epoch,
                memory: memory.clone(),
                seed: seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(index as u64 + 1)),
            };
            let stats = Arc::new(WorkerStats::default());
            worker::spawn(settings, stats, Arc::clone(buckets))
                .map_err(|error| format!("worker {index}: {error}"))
        })
        .collect()
}

/// A number that nobody can guess well: hash keys of the standard library are random.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

impl Plane {
    /// Drain for at most `drain`, answering the admin interface meanwhile.
    async fn end(&mut self, drain: Duration, events: &mut mpsc::UnboundedReceiver<Event>) {
        self.is_draining = true;
        let deadline: Time = self.now().after(drain);
        log!(Info, "ending, in {} s at the latest", drain.as_secs_f32());
        // Whoever uses an idle connection finds our successor by another one, if told with an answer; else nobody.
        let idle = if self.relieved.is_some() { drain / 2 } else { Duration::ZERO };
        self.close_streams();
        self.sockets.stop_all();
        self.tell(|| ToWorker::Stop { deadline, idle });
        if let Some(done) = self.relieved.take() {
            let _ = done.send(());
        }
        let last = deadline.after(Duration::from_millis(500));
        while self.workers.iter().any(WorkerHandle::is_alive) && self.now() < last {
            tokio::time::sleep(JOIN_INTERVAL).await;
            while let Ok(event) = events.try_recv() {
                if let Event::Admin(..) = event {
                    self.handle(event);
                }
            }
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take_if(|thread| thread.is_finished())
                && thread.join().is_err()
            {
                log!(Error, "a data thread ended badly");
            }
        }
    }
}

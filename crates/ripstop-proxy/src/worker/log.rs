//! Access logs: lines are gathered per file and handed to a thread that writes them, so that a slow disk costs no request.
use super::Worker;
use super::exchange::{Exchange, Kind};
use super::slots::Key;
use ripstop_core::http::HeaderId;
use ripstop_core::outcome::Flags;
use ripstop_core::record::{ConnectionInfo, Record};
use ripstop_core::snapshot::{AccessLog, Cluster, LogSink, Terminal};
use ripstop_core::template;
use ripstop_core::time::Time;
use std::fs::OpenOptions;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// Lines wait this long at most.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// Or until there are this many bytes.
const FLUSH_BYTES: usize = 32 * 1024;
/// Blocks that wait for the disk; beyond, lines are dropped and counted.
const BLOCKS: usize = 64;

/// The logs of a worker.
pub(crate) struct Logs {
    files: Vec<(Arc<str>, Vec<u8>)>,
    writer: SyncSender<Block>,
    flush_at: Time,
    pub dropped: u64,
    date: (u64, Vec<u8>),
}

enum Block {
    Lines(Arc<str>, Vec<u8>),
    Done(SyncSender<()>),
}

impl Logs {
    pub fn new() -> Logs {
        let (writer, blocks) = sync_channel::<Block>(BLOCKS);
        // Without the thread every send fails and lines are counted as dropped.
        let _ = std::thread::Builder::new().name("log-writer".into()).spawn(move || write_blocks(&blocks));
        Logs { files: Vec::new(), writer, flush_at: Time::NEVER, dropped: 0, date: (u64::MAX, Vec::new()) }
    }

    fn buffer(&mut self, path: &Arc<str>, now: Time) -> &mut Vec<u8> {
        if self.flush_at == Time::NEVER {
            self.flush_at = now.after(FLUSH_EVERY);
        }
        let at = match self.files.iter().position(|(name, _)| name == path) {
            Some(at) => at,
            None => {
                self.files.push((path.clone(), Vec::with_capacity(FLUSH_BYTES)));
                self.files.len() - 1
            }
        };
        &mut self.files[at].1
    }

    pub fn wait(&self, now: Time) -> Option<Duration> {
        (self.flush_at != Time::NEVER).then(|| self.flush_at.since(now))
    }

    pub fn flush_if_due(&mut self, now: Time) {
        let is_large = self.files.iter().any(|(_, lines)| lines.len() >= FLUSH_BYTES);
        if now >= self.flush_at || is_large {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.flush_at = Time::NEVER;
        for (path, lines) in &mut self.files {
            if !lines.is_empty() {
                let block = std::mem::replace(lines, Vec::with_capacity(FLUSH_BYTES));
                if self.writer.try_send(Block::Lines(path.clone(), block)).is_err() {
                    self.dropped += 1;
                }
            }
        }
    }

    /// Write everything and wait until it is written.
    pub fn flush_all(&mut self) {
        self.flush();
        let (done, is_done) = sync_channel(1);
        if self.writer.send(Block::Done(done)).is_ok() {
            let _ = is_done.recv_timeout(Duration::from_secs(2));
        }
    }

    /// The time as `Date` says it, made once a second.
    pub fn date(&mut self, since_epoch: Duration) -> &[u8] {
        if self.date.0 != since_epoch.as_secs() {
            self.date.0 = since_epoch.as_secs();
            self.date.1.clear();
            template::format_time(Some("%a, %d %b %Y %H:%M:%S GMT"), since_epoch, &mut self.date.1);
        }
        &self.date.1
    }
}

fn write_blocks(blocks: &std::sync::mpsc::Receiver<Block>) {
    let mut files: Vec<(Arc<str>, std::fs::File)> = Vec::new();
    while let Ok(block) = blocks.recv() {
        match block {
            Block::Done(done) => {
                let _ = done.try_send(());
            }
            Block::Lines(path, lines) => {
                let known = files.iter().position(|(name, _)| *name == path);
                let at = match known {
                    Some(at) => at,
                    None => match open(&path) {
                        Ok(file) => {
                            files.push((path.clone(), file));
                            files.len() - 1
                        }
                        Err(error) => {
                            eprintln!("ripstop-proxy: access log {path}: {error}");
                            continue;
                        }
                    },
                };
                if let Err(error) = files[at].1.write_all(&lines) {
                    eprintln!("ripstop-proxy: access log {path}: {error}");
                    files.remove(at);
                }
            }
        }
    }
}

fn open(path: &str) -> std::io::Result<std::fs::File> {
    let path = match path {
        "/dev/stdout" => "/proc/self/fd/1",
        "/dev/stderr" => "/proc/self/fd/2",
        other => other,
    };
    match OpenOptions::new().append(true).create(true).open(path) {
        // A socket (a journal, a test's pipe) cannot be opened by name: its descriptor is duplicated.
        Err(_) if path == "/proc/self/fd/1" => duplicate(&std::io::stdout()),
        Err(_) if path == "/proc/self/fd/2" => duplicate(&std::io::stderr()),
        other => other,
    }
}

fn duplicate(stream: &impl std::os::fd::AsFd) -> std::io::Result<std::fs::File> {
    stream.as_fd().try_clone_to_owned().map(std::fs::File::from)
}

impl Worker {
    /// Everything that is known of an exchange.
    pub(crate) fn make_record<'a>(&'a self, ex: &'a Exchange) -> Record<'a> {
        let cluster = ex.cluster.and_then(|key| self.clusters.get(key)).map(|cluster| &*cluster.config);
        record_of(ex, self.now, &self.no_connection, cluster)
    }

    /// Write an exchange's lines and count it.
    pub(crate) fn log_exchange(&mut self, ex: &mut Exchange) {
        if ex.kind == Kind::Mirror {
            return;
        }
        let Some(chain) = ex.chain.clone() else { return };
        if let Some((verdict, prefix)) = ex.denied.take() {
            ripstop_core::authorization::tell_enforced(&verdict, &prefix, &mut ex.dynamic);
        }
        if ex.grpc_status.is_none() && ex.is_grpc {
            let status = ex.response.headers.get(HeaderId::GrpcStatus);
            ex.grpc_status =
                status.and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse().ok());
        }
        let logs: &[Arc<AccessLog>] = match (&chain.manager, &chain.config.terminal) {
            (Some(manager), _) => &manager.access_logs,
            (None, Terminal::Tcp(proxy)) => &proxy.access_logs,
            _ => &[],
        };
        for log in logs {
            self.log_to(log, ex);
        }
        self.keep_decision(ex);
    }

    /// The cluster that an exchange went to, or would have gone to by its route.
    pub(super) fn cluster_of_record(&self, ex: &Exchange) -> Option<Arc<Cluster>> {
        let key = ex.cluster.or_else(|| {
            let name = self.cluster_name(ex).filter(|_| ex.kind != Kind::Tcp)?;
            self.cluster_names.get(&name).copied()
        })?;
        self.clusters.get(key).map(|cluster| cluster.config.clone())
    }

    fn log_to(&mut self, log: &Arc<AccessLog>, ex: &Exchange) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let cluster = self.cluster_of_record(ex);
        let record = record_of(ex, self.now, &self.no_connection, cluster.as_deref());
        let passes = log.filter.as_ref().is_none_or(|filter| template::passes(filter, &record, ex.random));
        if passes {
            match &log.sink {
                LogSink::File { path, format } => {
                    template::line(format, &record, &mut scratch);
                    self.logs.buffer(path, self.now).extend_from_slice(&scratch);
                }
                LogSink::Stats(stats) => self.stats.log(stats, &record, &mut scratch),
            }
        }
        self.scratch = scratch;
    }

    /// A connection that a network filter refused.
    pub(crate) fn log_refused_connection(&mut self, key: Key, chain: &Rc<super::listen::Chain>, flag: Flags) {
        let mut ex = self.spare.pop().unwrap_or_else(|| Box::new(Exchange::new()));
        ex.kind = Kind::Tcp;
        ex.flags = flag;
        ex.start = self.now;
        ex.start_wall = self.wall_offset + self.now.since(Time(0));
        ex.info = self.connections.get(key).map(|c| c.info.clone());
        ex.chain = Some(chain.clone());
        self.log_exchange(&mut ex);
        self.recycle(ex);
    }
}

pub(super) fn record_of<'a>(
    ex: &'a Exchange,
    now: Time,
    no_connection: &'a ConnectionInfo,
    cluster: Option<&'a Cluster>,
) -> Record<'a> {
    let since_start = |at: Time| (at != Time(0)).then(|| at.since(ex.start));
    let connection = match &ex.info {
        Some(info) => &**info,
        None => no_connection,
    };
    let is_http = ex.kind != Kind::Tcp;
    let has_head = !(ex.request.path().is_empty() && ex.request.authority().is_empty());
    Record {
        connection,
        request: (is_http && has_head).then_some(&ex.request),
        response: is_http.then_some(&ex.response),
        trailers: Some(&ex.trailers),
        protocol: is_http.then_some(ex.request.version),
        status: ex.status,
        grpc_status: ex.grpc_status,
        flags: ex.flags,
        details: if ex.details_text.is_empty() { ex.details } else { &ex.details_text },
        start: ex.start_wall,
        duration: now.since(ex.start),
        request_duration: since_start(ex.request_end_at),
        response_duration: since_start(ex.response_start_at),
        bytes_received: ex.bytes_received,
        bytes_sent: ex.bytes_sent,
        attempts: ex.attempts,
        upstream_host: ex.host.as_ref().map(|host| &*host.address_text),
        upstream_host_metadata: None,
        upstream_local: None,
        upstream_tls: ex.upstream_tls.as_deref(),
        upstream_failure: &ex.failure,
        upstream_protocol: ex.upstream_version,
        cluster,
        route: ex.matched.as_ref().map(|m| &*m.route),
        virtual_host: ex.matched.as_ref().map_or("", |m| &m.virtual_host.name),
        dynamic: &ex.dynamic,
        stream_id: ex.stream_id,
        local_reply_body: &ex.local_body,
    }
}

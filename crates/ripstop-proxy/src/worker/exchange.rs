//! One exchange: a request and its answer, or a TCP connection and its upstream; all its attempts.
use super::listen::Chain;
use super::slots::Key;
use ripstop_core::authorization::Verdict;
use ripstop_core::balance::Host;
use ripstop_core::http::{BodyLength, Headers, RequestHead, ResponseHead, Version};
use ripstop_core::outcome::Flags;
use ripstop_core::policies::session::Session;
use ripstop_core::record::{ConnectionInfo, DynamicMetadata, TlsInfo};
use ripstop_core::snapshot::*;
use ripstop_core::time::Time;
use std::rc::Rc;
use std::sync::Arc;

/// A body up to this size can be sent again by a retry or to a fallback.
pub(crate) const REPLAY_LIMIT: usize = 64 * 1024;

/// What kind of bytes are exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    /// A request that became a tunnel: WebSocket, CONNECT.
    Upgrade,
    /// CONNECT that ends here: its bytes go to the upstream as they are.
    Connect,
    Tcp,
    /// A copy of a request; its answer is thrown away.
    Mirror,
}

/// Where an exchange stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The head is there, nothing is decided.
    New,
    /// A fault delays it.
    Delayed,
    /// An attempt waits for a connection.
    Connecting,
    /// An attempt was sent.
    Sent,
    /// Waits before the next attempt.
    BackingOff,
    /// The answer's head went downstream.
    Answering,
    Done,
}

/// The route that was found.
#[derive(Clone)]
pub(crate) struct Matched {
    pub config: Arc<RouteConfig>,
    pub virtual_host: Arc<VirtualHost>,
    pub route: Arc<Route>,
    /// Index into the weighted clusters, when there are any.
    pub weighted: Option<usize>,
}

impl Matched {
    /// As routing looks at it.
    pub fn view(&self) -> ripstop_core::route::Matched<'_> {
        let Matched { config, virtual_host, route, .. } = self;
        ripstop_core::route::Matched { config, virtual_host, route, index: 0 }
    }

    pub fn forward(&self) -> Option<&Forward> {
        match &self.route.action {
            RouteAction::Forward(forward) => Some(forward),
            _ => None,
        }
    }

    pub fn weighted(&self) -> Option<&WeightedCluster> {
        match &self.forward()?.destination {
            Destination::Weighted(clusters, _) => clusters.get(self.weighted?),
            _ => None,
        }
    }
}

/// A place to send bytes to: a connection and, for HTTP/2, a stream on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub connection: Key,
    pub stream: u32,
}

impl Side {
    pub const NONE: Side = Side { connection: Key::NONE, stream: 0 };

    pub fn is_some(self) -> bool {
        self.connection != Key::NONE
    }
}

/// A request and its answer. Reused, with the capacity of its buffers.
pub(crate) struct Exchange {
    pub kind: Kind,
    pub phase: Phase,
    pub chain: Option<Rc<Chain>>,
    pub info: Option<Rc<ConnectionInfo>>,
    pub down: Side,
    pub up: Side,
    pub request: RequestHead,
    pub response: ResponseHead,
    pub trailers: Headers,
    pub request_trailers: Option<Box<Headers>>,
    pub request_body: BodyLength,
    /// The head as it came, for the next attempt, once the first has changed it.
    pub upgrade: bool,
    pub is_grpc: bool,
    pub is_head: bool,
    pub matched: Option<Matched>,
    pub cluster: Option<Key>,
    pub host: Option<Arc<Host>>,
    pub host_text: String,
    pub tried: Vec<Arc<Host>>,
    /// Attempts that were followed by another, or by none.
    pub history: Vec<super::decisions::Past>,
    pub upstream_tls: Option<Arc<TlsInfo>>,
    pub upstream_version: Option<Version>,
    pub retry: Option<Arc<RetryPolicy>>,
    pub attempts: u32,
    pub retries: u32,
    pub holds_retry: bool,
    /// Whether breaker counts of the cluster are held for this attempt: pending, active.
    pub holds_pending: bool,
    pub holds_active: bool,
    /// Body bytes that wait for an upstream or may be sent again.
    pub body: Vec<u8>,
    /// Whether `body` holds the whole of what came so far, so that it may be sent again.
    pub is_replayable: bool,
    /// How much of `body` this attempt has sent.
    pub body_sent: usize,
    pub request_ended: bool,
    pub request_end_sent: bool,
    pub response_started: bool,
    pub response_ended: bool,
    pub any_response_byte: bool,
    pub down_gone: bool,
    /// Bytes to be released to an HTTP/2 peer once the other side has room: request, response.
    pub owed_request: usize,
    pub owed_response: usize,
    pub flags: Flags,
    pub details: &'static str,
    /// Details that are made up of something.
    pub details_text: String,
    /// A denial, told to the log after the answer was made.
    pub denied: Option<(Verdict, String)>,
    pub failure: String,
    pub dynamic: DynamicMetadata,
    pub local_body: String,
    pub filter: usize,
    pub random: u64,
    pub hash: Option<u64>,
    pub cors: Option<Arc<Cors>>,
    pub abort_after_delay: Option<FaultAbort>,
    pub session: Option<(Arc<StatefulSession>, Session)>,
    pub wanted_host: Option<String>,
    pub set_cookies: smallvec::SmallVec<[Vec<u8>; 1]>,
    pub response_mutations: Vec<Arc<HeaderMutation>>,
    /// The place in the fallback chain: 0 is the service asked for.
    pub hop: usize,
    pub degraded: Option<(Arc<str>, &'static str)>,
    pub start: Time,
    pub start_wall: std::time::Duration,
    pub request_end_at: Time,
    pub response_start_at: Time,
    pub attempt_start: Time,
    pub last_active: Time,
    /// For the whole request.
    pub timeout_at: Time,
    pub try_timeout_at: Time,
    /// An attempt may be silent for so long (`per_try_idle_timeout`); zero: for any time.
    pub try_idle: std::time::Duration,
    pub max_duration_at: Time,
    pub idle: std::time::Duration,
    pub resume_at: Time,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub status: u16,
    pub grpc_status: Option<u32>,
    pub stream_id: u64,
    pub counted: bool,
    /// Of a copy.
    pub mirror_cluster: Option<Arc<str>>,
    /// Of a TCP proxy.
    pub tcp: Option<Arc<TcpProxy>>,
    pub down_half_closed: bool,
    pub up_half_closed: bool,
}

impl Exchange {
    pub fn new() -> Exchange {
        Exchange {
            kind: Kind::Http,
            phase: Phase::New,
            chain: None,
            info: None,
            down: Side::NONE,
            up: Side::NONE,
            request: RequestHead::default(),
            response: ResponseHead::default(),
            trailers: Headers::new(),
            request_trailers: None,
            request_body: BodyLength::Empty,
            upgrade: false,
            is_grpc: false,
            is_head: false,
            matched: None,
            cluster: None,
            host: None,
            host_text: String::new(),
            tried: Vec::new(),
            history: Vec::new(),
            upstream_tls: None,
            upstream_version: None,
            retry: None,
            attempts: 0,
            retries: 0,
            holds_retry: false,
            holds_pending: false,
            holds_active: false,
            body: Vec::new(),
            is_replayable: true,
            body_sent: 0,
            request_ended: false,
            request_end_sent: false,
            response_started: false,
            response_ended: false,
            any_response_byte: false,
            down_gone: false,
            owed_request: 0,
            owed_response: 0,
            flags: Flags::NONE,
            details: "",
            details_text: String::new(),
            denied: None,
            failure: String::new(),
            dynamic: DynamicMetadata::default(),
            local_body: String::new(),
            filter: 0,
            random: 0,
            hash: None,
            cors: None,
            abort_after_delay: None,
            session: None,
            wanted_host: None,
            set_cookies: smallvec::SmallVec::new(),
            response_mutations: Vec::new(),
            hop: 0,
            degraded: None,
            start: Time(0),
            start_wall: std::time::Duration::ZERO,
            request_end_at: Time(0),
            response_start_at: Time(0),
            attempt_start: Time(0),
            last_active: Time(0),
            timeout_at: Time::NEVER,
            try_timeout_at: Time::NEVER,
            try_idle: std::time::Duration::ZERO,
            max_duration_at: Time::NEVER,
            idle: std::time::Duration::ZERO,
            resume_at: Time::NEVER,
            bytes_received: 0,
            bytes_sent: 0,
            status: 0,
            grpc_status: None,
            stream_id: 0,
            counted: false,
            mirror_cluster: None,
            tcp: None,
            down_half_closed: false,
            up_half_closed: false,
        }
    }

    /// As new, with the capacity of buffers that are not large.
    pub fn reset(&mut self) {
        const KEEP: usize = 8 * 1024;
        let mut fresh = Exchange::new();
        std::mem::swap(&mut fresh.request, &mut self.request);
        std::mem::swap(&mut fresh.response, &mut self.response);
        std::mem::swap(&mut fresh.trailers, &mut self.trailers);
        std::mem::swap(&mut fresh.tried, &mut self.tried);
        std::mem::swap(&mut fresh.history, &mut self.history);
        std::mem::swap(&mut fresh.failure, &mut self.failure);
        std::mem::swap(&mut fresh.host_text, &mut self.host_text);
        std::mem::swap(&mut fresh.dynamic.0, &mut self.dynamic.0);
        if self.body.capacity() <= KEEP {
            std::mem::swap(&mut fresh.body, &mut self.body);
        }
        fresh.request.clear();
        fresh.response.clear();
        fresh.trailers.clear();
        fresh.tried.clear();
        fresh.history.clear();
        fresh.failure.clear();
        fresh.host_text.clear();
        fresh.dynamic.0.clear();
        fresh.body.clear();
        *self = fresh;
    }

    /// The earliest moment at which something is to be looked at.
    pub fn deadline(&self) -> Time {
        let idle = match self.idle.is_zero() {
            true => Time::NEVER,
            false => self.last_active.after(self.idle),
        };
        let limits =
            [self.timeout_at, self.try_timeout_at, self.try_idle_at(), self.max_duration_at, self.resume_at];
        limits.into_iter().fold(idle, Time::min)
    }

    /// When the attempt will have been silent for too long.
    pub fn try_idle_at(&self) -> Time {
        match self.phase {
            Phase::Sent | Phase::Answering if !self.try_idle.is_zero() => {
                self.last_active.after(self.try_idle)
            }
            _ => Time::NEVER,
        }
    }

    /// Whether another attempt may still be made: nothing of an answer went downstream, and the body can be sent again.
    pub fn may_repeat(&self) -> bool {
        !self.response_started && self.is_replayable && !self.down_gone
    }
}

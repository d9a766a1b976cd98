//! Blocks of counters and gauges: one for each cluster, connection manager, listener and so on, and for each worker.
//!
//! A block has one writer, its worker: adding is a load and a store, both relaxed, which is a plain `mov` each. Whoever
//! reads (the control thread) sees each value whole, and sums over the workers.
use super::histogram::Histogram;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Whether a statistic only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Counter,
    Gauge,
}

/// A set of statistics with Envoy's names.
pub trait Stat: Copy + 'static {
    /// Names below the scope, in the order of [`Stat::index`].
    const TABLE: &'static [(&'static str, Kind)];

    /// Its place in the table.
    fn index(self) -> usize;
}

macro_rules! stats {
    ($(#[$doc:meta])* $name:ident { $($kind:ident $id:ident = $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum $name { $($id),* }

        impl Stat for $name {
            const TABLE: &'static [(&'static str, Kind)] = &[$(($text, Kind::$kind)),*];

            #[inline(always)]
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

stats! {
    /// `cluster.<name>.`; what circuit breakers, balancers and outlier detection count is in `ClusterState` and
    /// `ClusterHealth` and merged when it is read.
    ClusterStat {
        Counter RqTotal = "upstream_rq_total";
        Gauge RqActive = "upstream_rq_active";
        Counter RqCompleted = "upstream_rq_completed";
        Counter Rq1xx = "upstream_rq_1xx";
        Counter Rq2xx = "upstream_rq_2xx";
        Counter Rq3xx = "upstream_rq_3xx";
        Counter Rq4xx = "upstream_rq_4xx";
        Counter Rq5xx = "upstream_rq_5xx";
        Counter RqRetry = "upstream_rq_retry";
        Counter RqRetrySuccess = "upstream_rq_retry_success";
        Counter RqRetryLimitExceeded = "upstream_rq_retry_limit_exceeded";
        Counter RqTimeout = "upstream_rq_timeout";
        Counter RqPerTryTimeout = "upstream_rq_per_try_timeout";
        Counter RqPerTryIdleTimeout = "upstream_rq_per_try_idle_timeout";
        Counter RqMaxDuration = "upstream_rq_max_duration_reached";
        Counter RqPendingTotal = "upstream_rq_pending_total";
        Gauge RqPendingActive = "upstream_rq_pending_active";
        Counter RqPendingFailureEject = "upstream_rq_pending_failure_eject";
        Counter RqCancelled = "upstream_rq_cancelled";
        Counter RqRxReset = "upstream_rq_rx_reset";
        Counter RqTxReset = "upstream_rq_tx_reset";
        Counter RetryOrShadowAbandoned = "retry_or_shadow_abandoned";
        Counter CxTotal = "upstream_cx_total";
        Gauge CxActive = "upstream_cx_active";
        Counter CxHttp1Total = "upstream_cx_http1_total";
        Counter CxHttp2Total = "upstream_cx_http2_total";
        Counter CxConnectFail = "upstream_cx_connect_fail";
        Counter CxConnectTimeout = "upstream_cx_connect_timeout";
        Counter CxDestroy = "upstream_cx_destroy";
        Counter CxDestroyLocal = "upstream_cx_destroy_local";
        Counter CxDestroyRemote = "upstream_cx_destroy_remote";
        Counter CxDestroyWithActiveRq = "upstream_cx_destroy_with_active_rq";
        Counter CxDestroyLocalWithActiveRq = "upstream_cx_destroy_local_with_active_rq";
        Counter CxDestroyRemoteWithActiveRq = "upstream_cx_destroy_remote_with_active_rq";
        Counter CxIdleTimeout = "upstream_cx_idle_timeout";
        Counter CxMaxDuration = "upstream_cx_max_duration_reached";
        Counter CxMaxRequests = "upstream_cx_max_requests";
        Counter CxNoneHealthy = "upstream_cx_none_healthy";
        Counter CxProtocolError = "upstream_cx_protocol_error";
        Counter CxCloseNotify = "upstream_cx_close_notify";
        Counter CxRxBytes = "upstream_cx_rx_bytes_total";
        Counter CxTxBytes = "upstream_cx_tx_bytes_total";
        Counter SslHandshake = "ssl.handshake";
        Counter SslConnectionError = "ssl.connection_error";
        Counter SslFailVerifyError = "ssl.fail_verify_error";
        Counter SslFailVerifySan = "ssl.fail_verify_san";
        // Ripstop's own: requests that went here because another service did not answer well.
        Counter FallbackTaken = "fallback_taken";
    }
}

stats! {
    /// `http.<stat_prefix>.`
    ManagerStat {
        Counter RqTotal = "downstream_rq_total";
        Counter RqHttp1Total = "downstream_rq_http1_total";
        Counter RqHttp2Total = "downstream_rq_http2_total";
        Gauge RqActive = "downstream_rq_active";
        Counter RqCompleted = "downstream_rq_completed";
        Counter Rq1xx = "downstream_rq_1xx";
        Counter Rq2xx = "downstream_rq_2xx";
        Counter Rq3xx = "downstream_rq_3xx";
        Counter Rq4xx = "downstream_rq_4xx";
        Counter Rq5xx = "downstream_rq_5xx";
        Counter RqRxReset = "downstream_rq_rx_reset";
        Counter RqTxReset = "downstream_rq_tx_reset";
        Counter RqTooLarge = "downstream_rq_too_large";
        Counter RqTimeout = "downstream_rq_timeout";
        Counter RqHeaderTimeout = "downstream_rq_header_timeout";
        Counter RqIdleTimeout = "downstream_rq_idle_timeout";
        Counter RqMaxDuration = "downstream_rq_max_duration_reached";
        Counter RqNonRelativePath = "downstream_rq_non_relative_path";
        Counter RqFailedPathNormalization = "downstream_rq_failed_path_normalization";
        Counter RqRedirectedWithNormalizedPath = "downstream_rq_redirected_with_normalized_path";
        Counter RqResponseBeforeComplete = "downstream_rq_response_before_rq_complete";
        Counter RqTooManyResets = "downstream_rq_too_many_premature_resets";
        Counter RqOverloadClose = "downstream_rq_overload_close";
        // Ripstop's own: requests that a fault of ours ended.
        Counter RqInternalFault = "downstream_rq_internal_fault";
        Counter RqWsOnNonWsRoute = "downstream_rq_ws_on_non_ws_route";
        Counter CxTotal = "downstream_cx_total";
        Gauge CxActive = "downstream_cx_active";
        Counter CxHttp1Total = "downstream_cx_http1_total";
        Gauge CxHttp1Active = "downstream_cx_http1_active";
        Counter CxHttp2Total = "downstream_cx_http2_total";
        Gauge CxHttp2Active = "downstream_cx_http2_active";
        Counter CxSslTotal = "downstream_cx_ssl_total";
        Gauge CxSslActive = "downstream_cx_ssl_active";
        Counter CxUpgradesTotal = "downstream_cx_upgrades_total";
        Gauge CxUpgradesActive = "downstream_cx_upgrades_active";
        Counter CxDestroy = "downstream_cx_destroy";
        Counter CxDestroyLocal = "downstream_cx_destroy_local";
        Counter CxDestroyRemote = "downstream_cx_destroy_remote";
        Counter CxDestroyActiveRq = "downstream_cx_destroy_active_rq";
        Counter CxDestroyLocalActiveRq = "downstream_cx_destroy_local_active_rq";
        Counter CxDestroyRemoteActiveRq = "downstream_cx_destroy_remote_active_rq";
        Counter CxDrainClose = "downstream_cx_drain_close";
        Counter CxIdleTimeout = "downstream_cx_idle_timeout";
        Counter CxMaxDuration = "downstream_cx_max_duration_reached";
        Counter CxMaxRequests = "downstream_cx_max_requests_reached";
        Counter CxDelayedCloseTimeout = "downstream_cx_delayed_close_timeout";
        Counter CxProtocolError = "downstream_cx_protocol_error";
        // Ripstop's own: connections that were ended for the memory that they held.
        Counter CxOverloadClose = "downstream_cx_overload_close";
        Counter CxRxBytes = "downstream_cx_rx_bytes_total";
        Counter CxTxBytes = "downstream_cx_tx_bytes_total";
        Counter RouterRqTotal = "rq_total";
        Counter NoRoute = "no_route";
        Counter NoCluster = "no_cluster";
        Counter RqDirectResponse = "rq_direct_response";
        Counter RqRedirect = "rq_redirect";
        Counter RqResetAfterResponse = "rq_reset_after_downstream_response_started";
        Counter FaultAborts = "fault.aborts_injected";
        Counter FaultDelays = "fault.delays_injected";
        Gauge FaultActive = "fault.active_faults";
        Counter FaultOverflow = "fault.faults_overflow";
        Counter CorsOriginValid = "cors.origin_valid";
        Counter CorsOriginInvalid = "cors.origin_invalid";
    }
}

stats! {
    /// `listener.<address>.`
    ListenerStat {
        Counter CxTotal = "downstream_cx_total";
        Gauge CxActive = "downstream_cx_active";
        Counter CxDestroy = "downstream_cx_destroy";
        Counter CxOverflow = "downstream_cx_overflow";
        Counter CxOverloadReject = "downstream_cx_overload_reject";
        Counter PreCxTimeout = "downstream_pre_cx_timeout";
        Gauge PreCxActive = "downstream_pre_cx_active";
        Counter TransportSocketConnectTimeout = "downstream_cx_transport_socket_connect_timeout";
        Counter NoFilterChainMatch = "no_filter_chain_match";
        Counter FilterError = "downstream_listener_filter_error";
        Counter FilterRemoteClose = "downstream_listener_filter_remote_close";
        Counter SslHandshake = "ssl.handshake";
        Counter SslConnectionError = "ssl.connection_error";
        Counter SslFailVerifyError = "ssl.fail_verify_error";
        Counter SslFailVerifyNoCert = "ssl.fail_verify_no_cert";
        Counter SslFailVerifySan = "ssl.fail_verify_san";
    }
}

stats! {
    /// `tcp.<stat_prefix>.`
    TcpStat {
        Counter CxTotal = "downstream_cx_total";
        Counter CxNoRoute = "downstream_cx_no_route";
        Counter CxRxBytes = "downstream_cx_rx_bytes_total";
        Counter CxTxBytes = "downstream_cx_tx_bytes_total";
        Counter CxDrainClose = "downstream_cx_drain_close";
        Counter IdleTimeout = "idle_timeout";
        Counter MaxDuration = "max_downstream_connection_duration";
    }
}

stats! {
    /// `http.<stat_prefix>.rbac.<rules_stat_prefix>.`, or of a network filter `<stat_prefix>rbac.`
    RbacStat {
        Counter Allowed = "allowed";
        Counter Denied = "denied";
        Counter ShadowAllowed = "shadow_allowed";
        Counter ShadowDenied = "shadow_denied";
    }
}

stats! {
    /// `<stat_prefix>.http_local_rate_limit.`
    RateLimitStat {
        Counter Enabled = "enabled";
        Counter Enforced = "enforced";
        Counter Ok = "ok";
        Counter RateLimited = "rate_limited";
    }
}

/// The values of one scope on one worker.
#[derive(Debug)]
pub struct Block<S> {
    values: Box<[AtomicU64]>,
    kind: PhantomData<fn(S)>,
}

impl<S: Stat> Default for Block<S> {
    fn default() -> Block<S> {
        Block { values: S::TABLE.iter().map(|_| AtomicU64::new(0)).collect(), kind: PhantomData }
    }
}

impl<S: Stat> Block<S> {
    /// One more.
    #[inline(always)]
    pub fn inc(&self, stat: S) {
        self.add(stat, 1);
    }

    /// One less; of a gauge. Of one worker it may go below zero, the sum over all does not.
    #[inline(always)]
    pub fn dec(&self, stat: S) {
        self.add(stat, u64::MAX);
    }

    /// `n` more; wraps, so that a gauge can be lowered.
    #[inline(always)]
    pub fn add(&self, stat: S, n: u64) {
        if let Some(value) = self.values.get(stat.index()) {
            add(value, n);
        }
    }

    /// What this worker counted.
    pub fn get(&self, stat: S) -> u64 {
        self.values.get(stat.index()).map_or(0, |value| value.load(Relaxed))
    }

    /// All values in the table's order.
    pub(super) fn add_to(&self, sums: &mut Vec<u64>) {
        sums.resize(self.values.len(), 0);
        for (sum, value) in sums.iter_mut().zip(&self.values) {
            *sum = sum.wrapping_add(value.load(Relaxed));
        }
    }
}

/// A single-writer addition.
#[inline(always)]
pub(super) fn add(value: &AtomicU64, n: u64) {
    value.store(value.load(Relaxed).wrapping_add(n), Relaxed);
}

const FIRST_CODE: u16 = 100;
const CODES: usize = 500;

/// Counts by status code, 100 to 599; takes memory only once something is counted.
#[derive(Debug, Default)]
pub(super) struct Codes(OnceLock<Box<[AtomicU64]>>);

impl Codes {
    fn inc(&self, status: u16) {
        let counts = self.0.get_or_init(|| (0..CODES).map(|_| AtomicU64::new(0)).collect());
        if let Some(count) = status.checked_sub(FIRST_CODE).and_then(|index| counts.get(usize::from(index))) {
            add(count, 1);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = self.0.get().into_iter().flatten();
        (FIRST_CODE..).zip(counts).map(|(code, count)| (code, count.load(Relaxed))).filter(|(_, n)| *n > 0)
    }
}

/// One cluster on one worker. Its counters are those of [`Block`].
#[derive(Debug, Default)]
pub struct ClusterBlock {
    pub(super) block: Block<ClusterStat>,
    pub(super) codes: Codes,
    /// `upstream_rq_time`, from the request's start to the response's end.
    pub rq_time: Histogram,
    /// `upstream_cx_connect_ms`
    pub cx_connect: Histogram,
    /// `upstream_cx_length_ms`
    pub cx_length: Histogram,
}

impl ClusterBlock {
    /// A response's head came: counts `upstream_rq_completed`, the code and its class.
    #[inline]
    pub fn status(&self, status: u16) {
        use ClusterStat::*;
        self.inc(RqCompleted);
        self.codes.inc(status);
        if let Some(class) =
            [Rq1xx, Rq2xx, Rq3xx, Rq4xx, Rq5xx].get((usize::from(status) / 100).wrapping_sub(1))
        {
            self.inc(*class);
        }
    }
}

impl std::ops::Deref for ClusterBlock {
    type Target = Block<ClusterStat>;

    #[inline(always)]
    fn deref(&self) -> &Block<ClusterStat> {
        &self.block
    }
}

/// One connection manager on one worker.
#[derive(Debug, Default)]
pub struct ManagerBlock {
    pub(super) block: Block<ManagerStat>,
    /// `downstream_rq_time`
    pub rq_time: Histogram,
    /// `downstream_cx_length_ms`
    pub cx_length: Histogram,
}

impl ManagerBlock {
    /// A response's head went out: counts `downstream_rq_completed` and its class.
    #[inline]
    pub fn status(&self, status: u16) {
        use ManagerStat::*;
        self.inc(RqCompleted);
        if let Some(class) =
            [Rq1xx, Rq2xx, Rq3xx, Rq4xx, Rq5xx].get((usize::from(status) / 100).wrapping_sub(1))
        {
            self.inc(*class);
        }
    }
}

impl std::ops::Deref for ManagerBlock {
    type Target = Block<ManagerStat>;

    #[inline(always)]
    fn deref(&self) -> &Block<ManagerStat> {
        &self.block
    }
}

/// One listener on one worker.
#[derive(Debug, Default)]
pub struct ListenerBlock {
    pub(super) block: Block<ListenerStat>,
    /// `downstream_cx_length_ms`
    pub cx_length: Histogram,
}

impl std::ops::Deref for ListenerBlock {
    type Target = Block<ListenerStat>;

    #[inline(always)]
    fn deref(&self) -> &Block<ListenerStat> {
        &self.block
    }
}

//! Attempts of an exchange: an endpoint, a connection, the request on it; what follows when that fails.
use super::Worker;
use super::cluster::Spoken;
use super::connection::Machine;
use super::exchange::{Exchange, Kind, Matched, Phase, Side};
use super::slots::Key;
use ripstop_core::balance::{Class, HostId, NoHost, PickContext};
use ripstop_core::http::HeaderId;
use ripstop_core::http2::Code;
use ripstop_core::outcome::Flags;
use ripstop_core::resilience::{self, AttemptFailure, Report, ReportKind, Trigger};
use ripstop_core::route;
use ripstop_core::time::Time;
use std::sync::Arc;

/// Why an attempt brought no answer.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    NoCluster,
    /// No endpoint may be asked.
    NoHost,
    /// `drop_overload`
    Dropped,
    /// A breaker is open.
    Overflow,
    Connect(String),
    /// The upstream refused the stream: it was not looked at.
    Refused,
    /// The upstream reset the stream.
    Reset,
    /// The connection ended.
    Terminated,
    TryTimeout,
    /// The answer broke the rules.
    Protocol(&'static str),
}

impl Failure {
    /// In two words, for whoever asks why.
    pub fn name(&self) -> &'static str {
        match self {
            Failure::NoCluster => "no cluster",
            Failure::NoHost => "no endpoint",
            Failure::Dropped => "dropped",
            Failure::Overflow => "breaker open",
            Failure::Connect(_) => "not connected",
            Failure::Refused => "stream refused",
            Failure::Reset => "reset",
            Failure::Terminated => "connection ended",
            Failure::TryTimeout => "try timed out",
            Failure::Protocol(why) => why,
        }
    }
}

impl Exchange {
    /// Whose breaker limits hold.
    pub(crate) fn class(&self) -> Class {
        match self.matched.as_ref().and_then(Matched::forward) {
            Some(forward) if forward.is_high_priority => Class::High,
            _ => Class::Default,
        }
    }
}

impl Worker {
    /// Make the first or the next attempt.
    pub(crate) fn attempt(&mut self, key: Key, ex: &mut Exchange) {
        ex.attempts += 1;
        ex.attempt_start = self.now;
        ex.resume_at = Time::NEVER;
        (ex.any_response_byte, ex.request_end_sent, ex.body_sent) = (false, false, 0);
        let Some(name) = self.cluster_name(ex) else {
            ex.attempts -= 1;
            return self.attempt_failed(key, ex, Failure::NoCluster);
        };
        let Some(resolved) = self.resolve_cluster(&name) else {
            ex.attempts -= 1;
            ex.cluster = None;
            return self.attempt_failed(key, ex, Failure::NoCluster);
        };
        ex.cluster = Some(resolved.cluster);
        let Some(cluster) = self.clusters.get_mut(resolved.cluster) else {
            return self.attempt_failed(key, ex, Failure::NoCluster);
        };
        let avoid: smallvec::SmallVec<[HostId; 4]> = match &ex.retry {
            Some(retry) if retry.avoids_previous_hosts => ex.tried.iter().map(|host| host.id).collect(),
            _ => smallvec::SmallVec::new(),
        };
        let forward = ex.matched.as_ref().and_then(Matched::forward);
        let context = PickContext {
            hash: ex.hash,
            avoid: &avoid,
            host_picks_max: ex.retry.as_ref().map_or(1, |retry| retry.host_picks_max),
            wanted: ex.wanted_host.as_deref(),
            now: self.now,
            subset: forward.map_or(&[], |forward| &forward.subset),
            attempt: ex.attempts - 1,
            level: resolved.level,
        };
        let picked = match &cluster.set {
            Some(set) => cluster
                .picker
                .pick(set, &cluster.state, &context, &mut self.rng)
                .map(|entry| entry.host.clone()),
            None => Err(NoHost::Empty),
        };
        let host = match picked {
            Ok(host) => host,
            Err(NoHost::Dropped(_)) => return self.attempt_failed(key, ex, Failure::Dropped),
            Err(_) => return self.attempt_failed(key, ex, Failure::NoHost),
        };
        let class = ex.class();
        ex.host = Some(host.clone());
        if !cluster.state.try_request(class, &cluster.config.breakers[class as usize]) {
            return self.attempt_failed(key, ex, Failure::Overflow);
        }
        let spoken = match ex.kind {
            Kind::Tcp | Kind::Connect => Spoken::Raw,
            Kind::Upgrade if cluster.spoken(ex) == Spoken::H1 => Spoken::H1,
            _ => cluster.spoken(ex),
        };
        ex.holds_active = true;
        host.request_began();
        self.stats.upstream_active(cluster.stats, 1);
        if let Some(retry) = &ex.retry {
            (ex.try_idle, ex.last_active) = (retry.per_try_idle_timeout, self.now);
            if !retry.per_try_timeout.is_zero() {
                ex.try_timeout_at = self.now.after(retry.per_try_timeout);
            }
        }
        ex.tried.push(host.clone());
        self.acquire(key, ex, resolved.cluster, &host, spoken);
    }

    pub(crate) fn cluster_name(&self, ex: &Exchange) -> Option<Arc<str>> {
        if let Some(proxy) = &ex.tcp {
            return super::tcp::choose_cluster(proxy, ex);
        }
        let matched = ex.matched.as_ref()?;
        let forward = matched.forward()?;
        if ex.hop > 0 {
            return forward.extras.fallbacks.get(ex.hop - 1).map(|hop| hop.cluster.clone());
        }
        if let Some(mirror) = &ex.mirror_cluster {
            return Some(mirror.clone());
        }
        if let Some(primary) = &forward.extras.primary {
            return Some(primary.clone());
        }
        let chosen = match matched.weighted() {
            Some(weighted) => return Some(weighted.name.clone()),
            None => route::choose_cluster(forward, &ex.request, ex.random),
        };
        chosen.shared.cloned().or_else(|| (!chosen.name.is_empty()).then(|| Arc::from(chosen.name)))
    }

    // --- the end of an attempt ---

    /// The upstream reset the stream.
    pub(crate) fn upstream_reset(&mut self, key: Key, ex: &mut Exchange, code: Code) {
        if ex.response_started && ex.response_ended {
            return; // NO_ERROR after a complete answer (RFC 9113, section 8.1)
        }
        let failure = match code {
            Code::REFUSED_STREAM => Failure::Refused,
            Code::PROTOCOL_ERROR => Failure::Protocol("http2.remote_protocol_error"),
            _ => Failure::Reset,
        };
        self.attempt_failed(key, ex, failure);
    }

    /// The upstream's answer is no HTTP.
    pub(crate) fn response_broken(&mut self, key: Key, ex: &mut Exchange, why: &'static str) {
        self.attempt_failed(key, ex, Failure::Protocol(why));
    }

    /// An attempt brought no answer: tell the endpoint's judges, then retry, fall back, or answer so.
    pub(crate) fn attempt_failed(&mut self, key: Key, ex: &mut Exchange, failure: Failure) {
        self.judge_failure(ex, &failure);
        self.note_attempt(ex, failure.name(), 0);
        self.abort_upstream(ex, Code::CANCEL);
        self.end_attempt(ex);
        if ex.kind == Kind::Mirror {
            return self.finish(key, ex);
        }
        if ex.kind == Kind::Tcp {
            return self.tcp_attempt_failed(key, ex, &failure);
        }
        if ex.response_started {
            ex.flags.set(flag_of(&failure));
            ex.details = details_after_start(&failure);
            return self.abort_response(key, ex);
        }
        if self.retry_after_failure(ex, &failure) {
            return;
        }
        if let Some(trigger) = trigger_of(&failure)
            && self.fall_back(key, ex, trigger)
        {
            return;
        }
        self.answer_failure(key, ex, &failure);
    }

    pub(super) fn judge_failure(&mut self, ex: &Exchange, failure: &Failure) {
        let kind = match failure {
            Failure::Connect(reason) if reason.contains("timeout") => ReportKind::Timeout,
            Failure::Connect(_) => ReportKind::ConnectFailure,
            Failure::TryTimeout => ReportKind::Timeout,
            Failure::Reset | Failure::Refused | Failure::Terminated | Failure::Protocol(_) => {
                ReportKind::Reset
            }
            _ => return,
        };
        if let Some(host) = &ex.host {
            host.latency.failed(self.now.since(ex.attempt_start), self.now);
        }
        self.judge(ex, kind);
    }

    /// Tell outlier detection how the endpoint did.
    pub(crate) fn judge(&mut self, ex: &Exchange, kind: ReportKind) {
        let (Some(host), Some(cluster)) = (&ex.host, ex.cluster.and_then(|key| self.clusters.get(key)))
        else {
            return;
        };
        let (Some(outlier), Some(set)) = (&cluster.config.outlier, &cluster.set) else { return };
        let report = Report::new(kind);
        if resilience::report(host, outlier, set, report, self.now, &mut self.rng).is_some() {
            // what is ejected is counted with the endpoints (`ClusterHealth`)
        }
    }

    fn retry_after_failure(&mut self, ex: &mut Exchange, failure: &Failure) -> bool {
        let is_sent = ex.request_end_sent
            || ex.body_sent > 0
            || matches!(failure, Failure::Reset | Failure::Terminated);
        let failure = match failure {
            Failure::Connect(_) => AttemptFailure::ConnectFailure,
            Failure::Refused => AttemptFailure::Refused,
            Failure::Reset | Failure::Terminated | Failure::Protocol(_) if !is_sent => {
                AttemptFailure::ResetBeforeRequest
            }
            Failure::Reset | Failure::Terminated | Failure::Protocol(_) => AttemptFailure::Reset,
            Failure::TryTimeout => AttemptFailure::PerTryTimeout,
            Failure::Overflow => AttemptFailure::Overflow,
            Failure::NoCluster | Failure::NoHost | Failure::Dropped => return false,
        };
        let Some(retry) = ex.retry.clone() else { return false };
        let has_key = has_safe_key(ex);
        if !resilience::may_retry(&retry, &ex.request, has_key)
            || !resilience::decide_failure(&retry, failure, &ex.request, has_key)
        {
            return false;
        }
        self.retry(ex)
    }

    /// Try again after a pause, when budget and attempts allow; false: they do not, or the body is gone.
    pub(crate) fn retry(&mut self, ex: &mut Exchange) -> bool {
        let is_admitted = self.admit_retry(ex);
        if is_admitted {
            self.schedule_retry(ex, None);
        }
        is_admitted
    }

    /// Whether attempts and budget allow another; the budget is taken then, and `schedule_retry` must follow.
    pub(crate) fn admit_retry(&mut self, ex: &mut Exchange) -> bool {
        let Some(policy) = ex.retry.clone() else { return false };
        let Some(cluster) = ex.cluster.and_then(|key| self.clusters.get(key)) else { return false };
        if !ex.may_repeat() {
            return false;
        }
        if ex.retries >= policy.num_retries {
            if policy.num_retries > 0 {
                ex.flags.set(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
                self.stats.count(cluster.stats, crate::control::stats::ClusterStat::RqRetryLimitExceeded);
            }
            return false;
        }
        let class = ex.class();
        if std::mem::take(&mut ex.holds_retry) {
            cluster.state.release_retry(class); // the attempt that ends was one itself
        }
        if !cluster.state.try_retry(class, &cluster.config.breakers[class as usize]) {
            ex.flags.set(Flags::UPSTREAM_OVERFLOW);
            return false;
        }
        self.stats.count(cluster.stats, crate::control::stats::ClusterStat::RqRetry);
        true
    }

    /// Wait for the next attempt. `response` may say how long (`rate_limited_retry_back_off`).
    pub(crate) fn schedule_retry(
        &mut self,
        ex: &mut Exchange,
        response: Option<&ripstop_core::http::ResponseHead>,
    ) {
        let Some(policy) = ex.retry.clone() else { return };
        ex.holds_retry = true;
        ex.retries += 1;
        let pause = resilience::backoff(
            &policy,
            ex.retries,
            &mut self.rng,
            response,
            self.wall_offset + self.now.since(Time(0)),
        );
        ex.phase = Phase::BackingOff;
        ex.resume_at = self.now.after(pause);
    }

    /// Ask the next service of the fallback chain, when this failure is a reason to.
    pub(crate) fn fall_back(&mut self, key: Key, ex: &mut Exchange, trigger: Trigger) -> bool {
        let Some(matched) = ex.matched.clone() else { return false };
        let Some(forward) = matched.forward() else { return false };
        if forward.extras.fallbacks.is_empty() || !ex.may_repeat() || ex.kind != Kind::Http {
            return false;
        }
        let Some(next) = resilience::next_hop(&forward.extras.fallbacks, ex.hop, trigger) else {
            return false;
        };
        let Some(hop) = forward.extras.fallbacks.get(next) else { return false };
        ex.hop = next + 1;
        ex.degraded = Some((hop.service.clone(), trigger.name()));
        if !hop.authority.is_empty() {
            ex.request.set_authority(hop.authority.as_bytes());
        }
        (ex.retries, ex.wanted_host, ex.session) = (0, None, None);
        ex.tried.clear();
        ex.flags = Flags::NONE;
        ex.timeout_at = match forward.timeout {
            none if none.is_zero() => Time::NEVER,
            timeout => self.now.after(timeout),
        };
        self.attempt(key, ex);
        true
    }

    /// Give back what an attempt held.
    pub(crate) fn end_attempt(&mut self, ex: &mut Exchange) {
        ex.try_timeout_at = Time::NEVER;
        if ex.holds_pending {
            self.release_pending(ex);
        }
        let class = ex.class();
        let cluster = ex.cluster.and_then(|key| self.clusters.get(key));
        if std::mem::take(&mut ex.holds_active) {
            if let Some(host) = &ex.host {
                host.request_ended();
            }
            if let Some(cluster) = cluster {
                cluster.state.release_request(class);
                self.stats.upstream_active(cluster.stats, -1);
            }
        }
        if std::mem::take(&mut ex.holds_retry)
            && let Some(cluster) = cluster
        {
            cluster.state.release_retry(class);
        }
    }

    pub(super) fn release_pending(&mut self, ex: &mut Exchange) {
        ex.holds_pending = false;
        if let Some(cluster) = ex.cluster.and_then(|key| self.clusters.get(key)) {
            cluster.state.release_pending(ex.class());
            self.stats.pending(cluster.stats, -1);
        }
    }

    /// Leave the upstream: its stream is reset, its HTTP/1 connection closed, for an answer would be in the way.
    pub(crate) fn abort_upstream(&mut self, ex: &mut Exchange, code: Code) {
        let up = std::mem::replace(&mut ex.up, Side::NONE);
        let Some(connection) = self.connections.get_mut(up.connection) else { return };
        match &mut connection.machine {
            Machine::H2Client(h2) => {
                h2.machine.reset(up.stream, code);
                h2.streams.remove(up.stream);
                self.mark_dirty(up.connection);
                self.stream_ended(up.connection);
            }
            Machine::H1Client(h1) => {
                h1.exchange = Key::NONE;
                self.close(up.connection);
            }
            _ => self.close(up.connection),
        }
    }

    /// The downstream is gone: nothing more can be told.
    pub(crate) fn downstream_gone(&mut self, key: Key, ex: &mut Exchange, flag: Flags) {
        ex.down_gone = true;
        ex.down = Side::NONE;
        ex.flags.set(flag);
        ex.details = match flag {
            Flags::DOWNSTREAM_REMOTE_RESET => "http2.remote_reset",
            Flags::DOWNSTREAM_PROTOCOL_ERROR => "http2.protocol_error",
            _ => "downstream_remote_disconnect",
        };
        if let Some(cluster) = ex.cluster.and_then(|key| self.clusters.get(key)) {
            self.stats.count(cluster.stats, crate::control::stats::ClusterStat::RqCancelled);
        }
        if matches!(ex.kind, Kind::Tcp) {
            ex.details = "";
        }
        self.abort_upstream(ex, Code::CANCEL);
        self.finish(key, ex);
    }

    /// The exchange is over: accounts, log, and its connection's next request.
    pub(crate) fn finish(&mut self, key: Key, ex: &mut Exchange) {
        let _ = key;
        if ex.phase == Phase::Done {
            return;
        }
        if ex.up.is_some() {
            self.abort_upstream(ex, Code::CANCEL);
        }
        self.end_attempt(ex);
        ex.phase = Phase::Done;
        self.log_exchange(ex);
        if let Some(chain) = ex.chain.clone().filter(|_| ex.counted) {
            self.stats.request_ended(chain.stats, ex.status, self.now.since(ex.start));
        }
        let down = std::mem::replace(&mut ex.down, Side::NONE);
        let owed = std::mem::take(&mut ex.owed_request);
        self.release_flow(down.connection, down.stream, owed);
        let Some(connection) = self.connections.get_mut(down.connection) else { return };
        match &mut connection.machine {
            Machine::H1Server(_) => self.h1_server_done(down.connection, ex.request_ended),
            Machine::H2Server(h2) => {
                if !ex.request_ended && ex.response_ended {
                    h2.leftover.push((down.stream, 0));
                } else if !ex.request_ended {
                    h2.machine.reset(down.stream, Code::NO_ERROR);
                }
                self.h2_server_done(down.connection, down.stream);
            }
            _ => {}
        }
    }
}

/// The words for an answer that broke off.
fn details_after_start(failure: &Failure) -> &'static str {
    match failure {
        Failure::Terminated => "upstream_reset_after_response_started{connection_termination}",
        Failure::Protocol(_) => "upstream_reset_after_response_started{protocol_error}",
        Failure::Refused => "upstream_reset_after_response_started{remote_refused_stream_reset}",
        _ => "upstream_reset_after_response_started{remote_reset}",
    }
}

pub(crate) fn flag_of(failure: &Failure) -> Flags {
    match failure {
        Failure::NoCluster => Flags::NO_CLUSTER_FOUND,
        Failure::NoHost | Failure::Dropped => Flags::NO_HEALTHY_UPSTREAM,
        Failure::Overflow => Flags::UPSTREAM_OVERFLOW,
        Failure::Connect(_) => Flags::UPSTREAM_CONNECTION_FAILURE,
        Failure::Refused | Failure::Reset => Flags::UPSTREAM_REMOTE_RESET,
        Failure::Terminated => Flags::UPSTREAM_CONNECTION_TERMINATION,
        Failure::TryTimeout => Flags::UPSTREAM_REQUEST_TIMEOUT,
        Failure::Protocol(_) => Flags::UPSTREAM_PROTOCOL_ERROR,
    }
}

/// Whether the client said that repeating does no harm (`Idempotency-Key`, where the route believes it).
pub(crate) fn has_safe_key(ex: &Exchange) -> bool {
    let believes = ex.matched.as_ref().and_then(Matched::forward).is_some_and(|f| f.extras.retry_with_key);
    believes && ex.request.headers.has(HeaderId::IdempotencyKey)
}

fn trigger_of(failure: &Failure) -> Option<Trigger> {
    match failure {
        Failure::NoHost | Failure::NoCluster | Failure::Dropped => Some(Trigger::NoHealthy),
        Failure::Overflow => Some(Trigger::BreakerOpen),
        Failure::TryTimeout => Some(Trigger::Timeout),
        Failure::Connect(_)
        | Failure::Refused
        | Failure::Reset
        | Failure::Terminated
        | Failure::Protocol(_) => Some(Trigger::Status(503)),
    }
}

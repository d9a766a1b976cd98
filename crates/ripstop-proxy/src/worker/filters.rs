//! The HTTP filters of a connection manager, in order, on a request; and what they do to its answer.
use super::Worker;
use super::exchange::{Exchange, Phase};
use super::slots::Key;
use ripstop_core::authorization;
use ripstop_core::http::HeaderId;
use ripstop_core::outcome::Flags;
use ripstop_core::policies::rate_limit::Bucket;
use ripstop_core::policies::{cors, fault, session};
use ripstop_core::route;
use ripstop_core::snapshot::{
    Destination, Fault, FaultAbort, FilterKind, HttpRbac, LocalRateLimit, PerFilter, StatefulSession,
};
use ripstop_core::template;
use ripstop_core::time::Time;
use std::sync::Arc;

/// Whether the filters after this one are still to run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Continue,
    /// The exchange was answered, or waits.
    Stop,
}

/// A bucket that this worker has asked for.
pub(super) struct KnownBucket {
    pub key: u64,
    pub bucket: Arc<Bucket>,
    pub used: Time,
}

impl Worker {
    /// Run the filters from `first` on, then the route's action.
    pub(crate) fn run_filters(&mut self, key: Key, ex: &mut Exchange, first: usize) {
        let Some(manager) = ex.chain.as_ref().and_then(|chain| chain.manager.clone()) else { return };
        for (index, filter) in manager.filters.iter().enumerate().skip(first) {
            ex.filter = index;
            let own = ex
                .matched
                .as_ref()
                .and_then(|m| route::per_filter(&filter.name, &m.view(), m.weighted()).cloned());
            if matches!(own, Some(PerFilter::Disabled)) || (own.is_none() && filter.disabled) {
                continue;
            }
            if self.run_filter(key, ex, &filter.kind, own) == Verdict::Stop {
                return;
            }
        }
        self.take_action(key, ex);
    }

    /// A fault's delay is over.
    pub(crate) fn resume_filters(&mut self, key: Key, ex: &mut Exchange) {
        ex.phase = Phase::New;
        if let Some(abort) = ex.abort_after_delay.take() {
            return self.abort_by_fault(key, ex, abort);
        }
        self.run_filters(key, ex, ex.filter + 1);
    }

    fn run_filter(
        &mut self,
        key: Key,
        ex: &mut Exchange,
        kind: &FilterKind,
        own: Option<PerFilter>,
    ) -> Verdict {
        match (kind, own) {
            (FilterKind::Cors, Some(PerFilter::Cors(policy))) => self.cors(key, ex, &policy),
            (FilterKind::Fault(_), Some(PerFilter::Fault(policy))) => self.fault(key, ex, &policy),
            (FilterKind::Fault(Some(policy)), _) => self.fault(key, ex, policy),
            (FilterKind::Rbac(_), Some(PerFilter::Rbac(None))) => Verdict::Continue,
            (FilterKind::Rbac(in_chain), Some(PerFilter::Rbac(Some(rbac)))) => {
                self.rbac(key, ex, in_chain, &rbac)
            }
            (FilterKind::Rbac(rbac), _) => self.rbac(key, ex, rbac, rbac),
            (FilterKind::LocalRateLimit(_), Some(PerFilter::LocalRateLimit(limit))) => {
                self.rate_limit(key, ex, &limit)
            }
            (FilterKind::LocalRateLimit(limit), _) => self.rate_limit(key, ex, limit),
            (FilterKind::StatefulSession(_), Some(PerFilter::StatefulSession(own))) => self.session(ex, own),
            (FilterKind::StatefulSession(all), _) => self.session(ex, all.clone()),
            (FilterKind::HeaderMutation(all), own) => {
                let mutation = match own {
                    Some(PerFilter::HeaderMutation(own)) => own,
                    _ => all.clone(),
                };
                self.mutate(ex, mutation)
            }
            _ => Verdict::Continue,
        }
    }

    fn cors(&mut self, key: Key, ex: &mut Exchange, policy: &Arc<ripstop_core::snapshot::Cors>) -> Verdict {
        let mut answer = std::mem::take(&mut ex.response);
        if cors::preflight(policy, &ex.request, ex.random, &mut answer) {
            self.local_reply_with(key, ex, 200, "", "cors_response", |head| head.headers = answer.headers);
            return Verdict::Stop;
        }
        ex.response = answer;
        ex.cors = Some(policy.clone());
        Verdict::Continue
    }

    fn fault(&mut self, key: Key, ex: &mut Exchange, policy: &Fault) -> Verdict {
        let decided = fault::decide(policy, &ex.request, destination(ex), &mut self.rng);
        if let Some(delay) = decided.delay {
            ex.flags.set(Flags::DELAY_INJECTED);
            ex.abort_after_delay = decided.abort;
            ex.phase = Phase::Delayed;
            ex.resume_at = self.now.after(delay);
            return Verdict::Stop;
        }
        match decided.abort {
            Some(abort) => {
                self.abort_by_fault(key, ex, abort);
                Verdict::Stop
            }
            None => Verdict::Continue,
        }
    }

    fn abort_by_fault(&mut self, key: Key, ex: &mut Exchange, abort: FaultAbort) {
        ex.flags.set(Flags::FAULT_INJECTED);
        match abort {
            FaultAbort::Http(status) => {
                self.local_reply(key, ex, status, "fault filter abort", "fault_filter_abort");
            }
            FaultAbort::Grpc(_) if !ex.is_grpc => {
                self.local_reply(key, ex, 200, "fault filter abort", "fault_filter_abort");
            }
            FaultAbort::Grpc(code) => {
                self.local_reply_with(key, ex, 500, "fault filter abort", "fault_filter_abort", |head| {
                    let mut text = itoa::Buffer::new();
                    head.headers.push_known(HeaderId::GrpcStatus, text.format(code).as_bytes());
                });
            }
        }
    }

    fn rbac(&mut self, key: Key, ex: &mut Exchange, in_chain: &HttpRbac, rbac: &HttpRbac) -> Verdict {
        if rbac.rules.is_none() && rbac.shadow_rules.is_none() {
            return Verdict::Continue;
        }
        let Some(info) = ex.info.clone() else { return Verdict::Continue };
        let verdict = authorization::check_http(rbac, &info, info.remote.ip(), &ex.request);
        let is_told = ex.chain.as_ref().is_some_and(|chain| chain.reads_metadata);
        if is_told {
            authorization::tell_shadow(&verdict, &in_chain.shadow_prefix, &mut ex.dynamic);
        }
        if let Some(manager) = ex.chain.as_ref().and_then(|chain| chain.manager.as_ref()) {
            self.stats.http_rbac(&manager.stat_prefix, &manager.stat_prefix, rbac, &verdict);
        }
        if verdict.allowed() {
            if is_told {
                authorization::tell_enforced(&verdict, &in_chain.rules_prefix, &mut ex.dynamic);
            }
            return Verdict::Continue;
        }
        ex.details_text = verdict.details();
        ex.denied = Some((verdict, in_chain.rules_prefix.clone()));
        self.local_reply(key, ex, 403, "RBAC: access denied", "rbac_access_denied");
        Verdict::Stop
    }

    fn rate_limit(&mut self, key: Key, ex: &mut Exchange, limit: &LocalRateLimit) -> Verdict {
        if limit.bucket.is_none() {
            return Verdict::Continue;
        }
        if !self.rng.chance(limit.enabled.0) {
            return Verdict::Continue;
        }
        let passes = self.bucket_of(limit).is_none_or(|bucket| bucket.take(self.now));
        let enforced = !passes && self.rng.chance(limit.enforced.0);
        self.stats.rate_limited(&limit.stat_prefix, passes, enforced);
        if !enforced {
            return Verdict::Continue;
        }
        ex.flags.set(Flags::RATE_LIMITED);
        let as_exhausted = limit.as_resource_exhausted && ex.is_grpc;
        let mut added = Vec::with_capacity(limit.response_headers.add.len());
        for add in &limit.response_headers.add {
            let mut value = Vec::new();
            template::render_or_empty(&add.value, &self.record(ex), &mut value);
            added.push((&add.name, value));
        }
        self.local_reply_with(key, ex, limit.status, "local_rate_limited", "local_rate_limited", |head| {
            if as_exhausted {
                head.headers.push_known(HeaderId::GrpcStatus, b"8");
            }
            for (name, value) in &added {
                head.headers.push(name, value);
            }
        });
        Verdict::Stop
    }

    /// The bucket of a limit, shared by all workers; asked for once.
    fn bucket_of(&mut self, limit: &LocalRateLimit) -> Option<Arc<Bucket>> {
        let now = self.now;
        if let Some(known) = self.known_buckets.iter_mut().find(|known| known.key == limit.key) {
            known.used = now;
            return Some(known.bucket.clone());
        }
        let bucket = self.buckets.get(limit, now)?;
        self.known_buckets.push(KnownBucket { key: limit.key, bucket: bucket.clone(), used: now });
        Some(bucket)
    }

    fn session(&mut self, ex: &mut Exchange, state: Option<Arc<StatefulSession>>) -> Verdict {
        if let Some(state) = state {
            let wall = self.wall_offset + self.now.since(Time(0));
            if let Some(begun) = session::begin(&state, &ex.request, wall) {
                ex.wanted_host.clone_from(&begun.host);
                ex.session = Some((state, begun));
            }
        }
        Verdict::Continue
    }

    fn mutate(
        &mut self,
        ex: &mut Exchange,
        mutation: Arc<ripstop_core::snapshot::HeaderMutation>,
    ) -> Verdict {
        let mut request = std::mem::take(&mut ex.request);
        let copy = request.clone();
        let mut record = self.record(ex);
        record.request = Some(&copy);
        let mut scratch = Vec::new();
        route::apply_changes(&mut request, &mutation.request, &record, &mut scratch);
        ex.request = request;
        ex.response_mutations.push(mutation);
        Verdict::Continue
    }

    /// What filters do to an answer, the last filter first.
    pub(crate) fn answer_filters(&mut self, ex: &mut Exchange, is_local: bool) {
        for mutation in std::mem::take(&mut ex.response_mutations).into_iter().rev() {
            let mut response = std::mem::take(&mut ex.response);
            let copy = response.clone();
            let mut record = self.record(ex);
            record.response = Some(&copy);
            let mut scratch = Vec::new();
            route::apply_changes(&mut response, &mutation.response, &record, &mut scratch);
            ex.response = response;
        }
        if let (Some((state, begun)), Some(host), false) = (ex.session.take(), &ex.host, is_local) {
            let wall = ex.start_wall + self.now.since(ex.start);
            session::answer(&state, &begun, &host.address_text, wall, &mut ex.response);
        }
        if !is_local {
            for cookie in std::mem::take(&mut ex.set_cookies) {
                ex.response.headers.push_known(HeaderId::SetCookie, &cookie);
            }
        }
        if let Some(policy) = ex.cors.take() {
            cors::actual(&policy, &ex.request, ex.random, &mut ex.response);
        }
    }
}

/// The cluster that a request is routed to, as far as its route says it by name.
fn destination(ex: &Exchange) -> &str {
    let Some(matched) = &ex.matched else { return "" };
    if let Some(weighted) = matched.weighted() {
        return &weighted.name;
    }
    match matched.forward().map(|forward| &forward.destination) {
        Some(Destination::Cluster(name)) => name,
        _ => "",
    }
}

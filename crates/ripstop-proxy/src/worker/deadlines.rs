//! Deadlines of an exchange: attempts and requests that take too long, silent streams, pauses that are over.
use super::Worker;
use super::attempt::Failure;
use super::exchange::{Exchange, Kind, Phase};
use super::slots::Key;
use crate::control::stats::ClusterStat;
use ripstop_core::http::HeaderId;
use ripstop_core::http2::Code;
use ripstop_core::outcome::Flags;
use ripstop_core::resilience::Trigger;
use ripstop_core::time::Time;

impl Worker {
    /// A deadline of an exchange may have come.
    pub(crate) fn exchange_timer(&mut self, key: Key) {
        self.with_exchange(key, |worker, key, ex| {
            let now = worker.now;
            if now < ex.deadline() {
                return; // armed again by `with_exchange`
            }
            if now >= ex.resume_at {
                ex.resume_at = Time::NEVER;
                return match ex.phase {
                    Phase::Delayed => worker.resume_filters(key, ex),
                    _ => worker.attempt(key, ex),
                };
            }
            if now >= ex.max_duration_at {
                return worker.max_duration_reached(key, ex);
            }
            if now >= ex.timeout_at {
                return worker.request_timed_out(key, ex);
            }
            if now >= ex.try_timeout_at {
                ex.try_timeout_at = Time::NEVER;
                if let Some(cluster) = ex.cluster.and_then(|key| worker.clusters.get(key)) {
                    worker.stats.count(cluster.stats, ClusterStat::RqPerTryTimeout);
                }
                return worker.attempt_failed(key, ex, Failure::TryTimeout);
            }
            if now >= ex.try_idle_at() {
                return worker.attempt_failed(key, ex, Failure::TryTimeout);
            }
            worker.stream_idle(key, ex);
        });
    }

    fn request_timed_out(&mut self, key: Key, ex: &mut Exchange) {
        ex.timeout_at = Time::NEVER;
        if ex.matched.is_none()
            || (!ex.request_ended && ex.hop == 0 && ex.kind != Kind::Mirror)
            || !matches!(ex.phase, Phase::Connecting | Phase::Sent | Phase::BackingOff | Phase::Answering)
        {
            return self.local_reply(key, ex, 408, "request timeout", "request_overall_timeout");
        }
        if let Some(cluster) = ex.cluster.and_then(|key| self.clusters.get(key)) {
            self.stats.count(cluster.stats, ClusterStat::RqTimeout);
        }
        if ex.phase == Phase::Answering {
            ex.flags.set(Flags::UPSTREAM_REQUEST_TIMEOUT);
            ex.details = "response_timeout";
            return self.abort_response(key, ex);
        }
        self.judge_failure(ex, &Failure::TryTimeout);
        self.abort_upstream(ex, Code::CANCEL);
        self.end_attempt(ex);
        if self.fall_back(key, ex, Trigger::Timeout) {
            return;
        }
        ex.flags.set(Flags::UPSTREAM_REQUEST_TIMEOUT);
        self.count_status(ex, 504);
        self.local_reply(key, ex, 504, "upstream request timeout", "response_timeout");
    }

    fn max_duration_reached(&mut self, key: Key, ex: &mut Exchange) {
        ex.max_duration_at = Time::NEVER;
        if ex.response_started {
            ex.details = "max_duration_timeout";
            return self.abort_response(key, ex);
        }
        let status = if ex.request_ended { 504 } else { 408 };
        let is_grpc = ex.is_grpc;
        let (body, details) = ("downstream duration timeout", "max_duration_timeout");
        self.local_reply_with(key, ex, status, body, details, |head| {
            if is_grpc {
                head.headers.push_known(HeaderId::GrpcStatus, b"4");
            }
        });
    }

    fn stream_idle(&mut self, key: Key, ex: &mut Exchange) {
        if ex.kind == Kind::Tcp {
            return self.tcp_idle(key, ex);
        }
        ex.flags.set(Flags::STREAM_IDLE_TIMEOUT);
        if ex.response_started {
            ex.details = "stream_idle_timeout";
            return self.abort_response(key, ex);
        }
        let status = if ex.request_ended { 504 } else { 408 };
        self.local_reply(key, ex, status, "stream timeout", "stream_idle_timeout");
    }
}

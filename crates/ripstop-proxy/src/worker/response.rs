//! From the upstream's answer to the downstream: retry or fall back, else pass it on.
use super::Worker;
use super::connection::{Machine, Raw};
use super::exchange::{Exchange, Kind, Matched, Phase, Side};
use super::slots::Key;
use ripstop_core::http::{HeaderId, Version};
use ripstop_core::http1;
use ripstop_core::resilience::{self, ReportKind, Trigger};
use ripstop_core::route;
use ripstop_core::time::Time;

impl Worker {
    /// The head of an answer came, in `ex.response`; `end` when there is no body.
    pub(crate) fn response_head(&mut self, key: Key, ex: &mut Exchange, end: bool) {
        ex.last_active = self.now;
        super::fault::injected(ex, "response");
        self.judge_response(ex);
        if ex.kind == Kind::Mirror {
            return self.mirror_answer(key, ex, end);
        }
        let is_tunnel = self.is_upgrade_answer(ex);
        let may_repeat = ex.retry.is_some() || ex.is_replayable;
        if !is_tunnel && may_repeat && self.repeat_for(key, ex, end) {
            return;
        }
        self.pass_head(key, ex, end, is_tunnel);
    }

    /// What the answer's status says of the endpoint.
    fn judge_response(&mut self, ex: &mut Exchange) {
        let status = ex.response.status;
        if let Some(host) = &ex.host {
            let round_trip = self.now.since(ex.attempt_start);
            if status >= 500 {
                host.latency.failed(round_trip, self.now);
            } else {
                host.latency.answered(round_trip, self.now);
            }
        }
        self.judge(ex, ReportKind::Http(judged_status(ex)));
    }

    /// Whether the answer is thrown away for another attempt or a fallback.
    fn repeat_for(&mut self, key: Key, ex: &mut Exchange, end: bool) -> bool {
        let has_key = super::attempt::has_safe_key(ex);
        let wants_retry = ex.retry.as_ref().is_some_and(|policy| {
            resilience::may_retry(policy, &ex.request, has_key)
                && resilience::decide_head(policy, &ex.request, &ex.response, has_key)
        });
        if wants_retry && self.admit_retry(ex) {
            self.leave_answer(ex, end);
            let response = std::mem::take(&mut ex.response);
            self.schedule_retry(ex, Some(&response));
            ex.response = response;
            return true;
        }
        let trigger = Trigger::Status(ex.response.status);
        let falls = ex.matched.as_ref().and_then(Matched::forward).is_some_and(|forward| {
            resilience::next_hop(&forward.extras.fallbacks, ex.hop, trigger).is_some()
        });
        if falls && ex.may_repeat() {
            self.leave_answer(ex, end);
            return self.fall_back(key, ex, trigger);
        }
        false
    }

    /// Do without the body of an answer.
    fn leave_answer(&mut self, ex: &mut Exchange, end: bool) {
        self.note_attempt(ex, "", ex.response.status);
        if !end {
            self.abort_upstream(ex, ripstop_core::http2::Code::CANCEL);
        }
        self.end_attempt(ex);
    }

    /// Count what the cluster's answer was: the one that is passed on, or ours in its stead.
    pub(crate) fn count_status(&self, ex: &Exchange, status: u16) {
        if let Some(cluster) = ex.cluster.and_then(|key| self.clusters.get(key)) {
            self.stats.upstream_status(cluster.stats, status, self.now.since(ex.attempt_start));
        }
    }

    fn pass_head(&mut self, key: Key, ex: &mut Exchange, end: bool, is_tunnel: bool) {
        self.count_status(ex, ex.response.status);
        ex.status = ex.response.status;
        if ex.details.is_empty() {
            ex.details = "via_upstream";
        }
        ex.response_started = true;
        ex.response_start_at = self.now;
        ex.phase = Phase::Answering;
        ex.try_timeout_at = Time::NEVER;
        if is_tunnel {
            (ex.timeout_at, ex.idle) = (Time::NEVER, self.tunnel_idle(ex));
        }
        // The body is not sent again once an answer is on its way.
        ex.is_replayable = false;
        if ex.request_end_sent {
            ex.body.clear();
        }
        if ex.response.version != Version::Http2 || is_tunnel {
            http1::strip_hop_by_hop_response(&mut ex.response, is_tunnel);
        }
        self.change_response(ex, false);
        self.answer_filters(ex, false);
        self.base_response_headers(ex, false);
        let ends_here = end && !is_tunnel;
        self.send_head(ex, ends_here);
        if is_tunnel {
            return self.become_tunnel(key, ex);
        }
        if ends_here {
            ex.response_ended = true;
            self.answer_complete(key, ex);
        }
    }

    fn suppresses_envoy_headers(&self, ex: &Exchange) -> bool {
        ex.chain.as_ref().and_then(|c| c.manager.as_ref()).is_none_or(|m| m.suppress_envoy_headers)
    }

    /// Header changes of the route, and the mesh's own marks.
    pub(crate) fn change_response(&mut self, ex: &mut Exchange, is_local: bool) {
        let Some(matched) = ex.matched.clone() else { return };
        if !is_local && !self.suppresses_envoy_headers(ex) {
            let mut text = itoa::Buffer::new();
            let elapsed = self.now.since(ex.attempt_start).as_millis();
            ex.response
                .headers
                .set(HeaderId::XEnvoyUpstreamServiceTime, text.format(elapsed as u64).as_bytes());
        }
        if matched.virtual_host.answers_attempts {
            let mut text = itoa::Buffer::new();
            ex.response.headers.set(HeaderId::XEnvoyAttemptCount, text.format(ex.attempts).as_bytes());
        }
        if let Some((service, reason)) = &ex.degraded {
            let value = format!("{service}; reason={reason}");
            ex.response.headers.set(HeaderId::MeshDegraded, value.as_bytes());
        }
        if super::request::changes_response(&matched) {
            let mut response = std::mem::take(&mut ex.response);
            let copy = response.clone();
            let mut record = self.record(ex);
            record.response = Some(&copy);
            let mut scratch = Vec::new();
            route::apply_response(&mut response, &matched.view(), matched.weighted(), &record, &mut scratch);
            ex.response = response;
        }
    }

    fn is_upgrade_answer(&self, ex: &mut Exchange) -> bool {
        if ex.kind != Kind::Upgrade {
            return false;
        }
        let accepted = match ex.upstream_version {
            Some(Version::Http2) => ex.response.status == 200,
            _ => ex.response.status == 101,
        };
        if accepted && ex.response.status == 200 {
            // What an extended CONNECT answers is what HTTP/1 calls 101 (RFC 8441, section 5).
            ex.response.status = 101;
            let protocol = ex.request.headers.get(HeaderId::Upgrade).unwrap_or_default().to_vec();
            ex.response.headers.set(HeaderId::Upgrade, &protocol);
        }
        accepted
    }

    /// From here on bytes pass as they are, both ways.
    fn become_tunnel(&mut self, key: Key, ex: &mut Exchange) {
        for (side, is_downstream) in [(ex.down, true), (ex.up, false)] {
            let Some(connection) = self.connections.get_mut(side.connection) else { continue };
            if is_downstream
                && matches!(connection.machine, Machine::H1Server(_))
                && let Some(chain) = &connection.chain
            {
                self.stats.became_tunnel(chain.stats);
            }
            if matches!(connection.machine, Machine::H1Server(_) | Machine::H1Client(_)) {
                connection.machine = Machine::Raw(Raw { exchange: key, is_downstream });
                connection.deadline = Time::NEVER;
                connection.paused = false;
                self.resume.push(side.connection);
            }
        }
        ex.request_ended = false;
        let body = std::mem::take(&mut ex.body);
        if !body.is_empty() {
            self.tunnel_up(ex, &body, false);
        }
    }

    /// A piece of the answer's body; `flow` is to be released to an HTTP/2 upstream.
    pub(crate) fn response_data(&mut self, key: Key, ex: &mut Exchange, data: &[u8], end: bool, flow: usize) {
        super::fault::injected(ex, "body");
        ex.last_active = self.now;
        ex.owed_response += flow;
        if ex.kind == Kind::Mirror {
            self.release_response(ex);
            if end {
                self.finish(key, ex);
            }
            return;
        }
        if ex.phase != Phase::Answering {
            return;
        }
        if end {
            self.grpc_outcome(ex);
        }
        if !ex.is_head || data.is_empty() {
            self.send_body(ex, data, end);
        }
        if end {
            ex.response_ended = true;
            return self.answer_complete(key, ex);
        }
        self.release_response(ex);
    }

    fn grpc_outcome(&mut self, ex: &mut Exchange) {
        if ex.is_grpc
            && let Some(status) = ex.trailers.get(HeaderId::GrpcStatus)
        {
            ex.grpc_status = std::str::from_utf8(status).ok().and_then(|text| text.parse().ok());
        }
    }

    /// The answer was passed on to its end.
    fn answer_complete(&mut self, key: Key, ex: &mut Exchange) {
        if matches!(ex.kind, Kind::Upgrade | Kind::Connect)
            && ex.phase == Phase::Answering
            && !ex.request_end_sent
            && ex.up != Side::NONE
        {
            return; // the other direction of a tunnel is still open
        }
        self.finish(key, ex);
    }

    fn mirror_answer(&mut self, key: Key, ex: &mut Exchange, end: bool) {
        ex.status = ex.response.status;
        self.count_status(ex, ex.status);
        ex.phase = Phase::Answering;
        if end {
            self.finish(key, ex);
        }
    }

    /// The answer to an attempt that brought none, in Envoy's words.
    pub(crate) fn answer_failure(&mut self, key: Key, ex: &mut Exchange, failure: &super::attempt::Failure) {
        use super::attempt::Failure;
        ex.flags.set(super::attempt::flag_of(failure));
        self.count_status(
            ex,
            match failure {
                Failure::TryTimeout => 504,
                Failure::Protocol(_) => 502,
                _ => 503,
            },
        );
        let latest = if ex.attempts > 1 { "retried and the latest reset reason: " } else { "reset reason: " };
        let start = "upstream connect error or disconnect/reset before headers. ";
        match failure {
            Failure::NoCluster => {
                let forward = ex.matched.as_ref().and_then(Matched::forward);
                let status = forward.map_or(503, |forward| forward.not_found_status);
                self.local_reply(key, ex, status, "", "cluster_not_found");
            }
            Failure::NoHost => self.local_reply(key, ex, 503, "no healthy upstream", "no_healthy_upstream"),
            Failure::Dropped => self.local_reply(key, ex, 503, "drop overload", "drop_overload"),
            Failure::Overflow => {
                let body = format!("{start}{latest}overflow");
                let details = "upstream_reset_before_response_started{overflow}";
                let suppress = self.suppresses_envoy_headers(ex);
                self.local_reply_with(key, ex, 503, &body, details, |head| {
                    if !suppress {
                        head.headers.push(b"x-envoy-overloaded", b"true");
                    }
                });
            }
            Failure::Connect(reason) => {
                let details = "upstream_reset_before_response_started{connection_timeout}";
                if reason == "connection timeout" {
                    let body = format!("{start}{latest}connection timeout");
                    return self.local_reply(key, ex, 503, &body, details);
                }
                ex.failure.clone_from(reason);
                let known = "upstream_reset_before_response_started{remote_connection_failure";
                ex.details_text = format!("{known}|{}}}", reason.replace(' ', "_"));
                let body = format!("{start}{latest}remote connection failure");
                self.local_reply(key, ex, 503, &body, "");
            }
            Failure::TryTimeout => {
                self.local_reply(key, ex, 504, "upstream request timeout", "upstream_per_try_timeout");
            }
            Failure::Refused => {
                let body = format!("{start}{latest}remote refused stream reset");
                let details = "upstream_reset_before_response_started{remote_refused_stream_reset}";
                self.local_reply(key, ex, 503, &body, details);
            }
            Failure::Reset => {
                let body = format!("{start}{latest}remote reset");
                self.local_reply(key, ex, 503, &body, "upstream_reset_before_response_started{remote_reset}");
            }
            Failure::Terminated => {
                let body = format!("{start}{latest}connection termination");
                let details = "upstream_reset_before_response_started{connection_termination}";
                self.local_reply(key, ex, 503, &body, details);
            }
            Failure::Protocol(why) => {
                ex.failure.clear();
                ex.failure.push_str(why);
                let body = format!("{start}{latest}protocol error");
                let details = "upstream_reset_before_response_started{protocol_error}";
                self.local_reply(key, ex, 502, &body, details);
            }
        }
    }
}

/// gRPC statuses count as the HTTP statuses they stand for (Envoy: `Grpc::Utility::grpcToHttpStatus`).
fn judged_status(ex: &Exchange) -> u16 {
    if !ex.is_grpc {
        return ex.response.status;
    }
    let status =
        ex.response.headers.get(HeaderId::GrpcStatus).and_then(|text| std::str::from_utf8(text).ok());
    match status.and_then(|text| text.parse::<u32>().ok()) {
        None | Some(0) => ex.response.status,
        Some(1) => 499,
        Some(3 | 9 | 11) => 400,
        Some(5) => 404,
        Some(6 | 10) => 409,
        Some(7) => 403,
        Some(8) => 429,
        Some(12) => 501,
        Some(4) => 504,
        Some(14) => 503,
        Some(16) => 401,
        Some(_) => 500,
    }
}

//! Active health checks: when which endpoint is checked, and the checks themselves.
use super::dial::{self, Peer};
use super::endpoints::Endpoints;
use super::grpc::{self, CallError};
use bytes::Bytes;
use prost::Message;
use ripstop_core::balance::{Host, HostId};
use ripstop_core::resilience::{ActiveHealth, CheckResult, Transition};
use ripstop_core::rng::Rng;
use ripstop_core::snapshot::{HealthCheck, HealthCheckKind, Named, Secret};
use ripstop_core::time::Time;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The largest head of an answer.
const MAX_HEAD: usize = 16 * 1024;
const USER_AGENT: &str = "Envoy/HC";

/// Which check of which endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckId {
    cluster: Arc<str>,
    host: HostId,
    /// Which of the cluster's `health_checks`.
    index: usize,
}

/// A check that is to be made now.
#[derive(Debug)]
pub struct Check {
    /// What its result is told with.
    pub id: CheckId,
    config: HealthCheck,
    peer: Option<Peer>,
    cluster: Arc<str>,
}

/// All checks that there are.
#[derive(Debug, Default)]
pub struct Checks {
    runs: HashMap<CheckId, ActiveHealth>,
    agenda: BTreeSet<(Time, CheckId)>,
}

impl Checks {
    /// Endpoints changed: begin with new ones, each somewhere within its first interval, forget those that are gone.
    pub fn set(&mut self, endpoints: &Endpoints, now: Time, rng: &mut Rng) {
        let mut wanted = HashSet::new();
        for (name, run) in endpoints.iter().filter(|(_, run)| !run.config.health_checks.is_empty()) {
            for entry in run.set.hosts() {
                for (index, check) in run.config.health_checks.iter().enumerate() {
                    let id = CheckId { cluster: name.clone(), host: entry.host.id, index };
                    wanted.insert(id.clone());
                    if !self.runs.contains_key(&id) {
                        self.runs.insert(id.clone(), ActiveHealth::default());
                        self.agenda.insert((now.after(first_wait(check, rng)), id));
                    }
                }
            }
        }
        self.runs.retain(|id, _| wanted.contains(id));
        self.agenda.retain(|(_, id)| wanted.contains(id));
    }

    /// When the next check is due.
    pub fn next(&self) -> Time {
        self.agenda.first().map_or(Time::NEVER, |(at, _)| *at)
    }

    /// Take what is due.
    pub fn take_due(&mut self, endpoints: &Endpoints, secrets: &Named<Secret>, now: Time) -> Vec<Check> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.agenda.first().cloned() {
            if at > now {
                break;
            }
            self.agenda.pop_first();
            due.extend(prepare(endpoints, secrets, id));
        }
        due
    }

    /// A check ended; plans the next. Whether the endpoint's health changed.
    pub fn ended(
        &mut self,
        id: CheckId,
        result: CheckResult,
        endpoints: &Endpoints,
        now: Time,
        rng: &mut Rng,
    ) -> Option<(Arc<Host>, Transition)> {
        let run = endpoints.get(&id.cluster)?;
        let check = run.config.health_checks.get(id.index)?;
        let host = run.set.hosts().iter().find(|entry| entry.host.id == id.host)?.host.clone();
        let active = self.runs.get_mut(&id)?;
        let transition = active.on_result(&host, &run.set, &run.config, check, result, now);
        let has_traffic =
            run.set.hosts().iter().any(|entry| entry.host.counters.connections.load(Relaxed) > 0);
        let wait = active.next_wait(&host, check, transition, has_traffic, rng);
        self.agenda.insert((now.after(wait), id));
        let has_changed = !matches!(transition, Transition::Unchanged | Transition::Pending);
        has_changed.then_some((host, transition))
    }
}

/// The first check of an endpoint comes soon, but not of all endpoints at once.
fn first_wait(check: &HealthCheck, rng: &mut Rng) -> Duration {
    const AT_MOST: Duration = Duration::from_millis(100);
    check.interval.min(AT_MOST).mul_f64(rng.unit())
}

fn prepare(endpoints: &Endpoints, secrets: &Named<Secret>, id: CheckId) -> Option<Check> {
    let run = endpoints.get(&id.cluster)?;
    let config = run.config.health_checks.get(id.index)?.clone();
    let entry = run.set.hosts().iter().find(|entry| entry.host.id == id.host)?;
    let peer = dial::peer(&run.config, &entry.host, entry.health_port, secrets).ok();
    Some(Check { cluster: run.config.name.clone(), id, config, peer })
}

impl Check {
    /// Make the check.
    pub async fn run(&self) -> CheckResult {
        let Some(peer) = &self.peer else { return CheckResult::NetworkFailure };
        let check = async {
            match &self.config.kind {
                HealthCheckKind::Tcp { send, receive } => tcp(peer, send, receive).await,
                HealthCheckKind::Grpc { service, authority } => grpc_check(peer, service, authority).await,
                HealthCheckKind::Http { is_http2: true, .. } => self.http2(peer).await,
                HealthCheckKind::Http { .. } => self.http1(peer).await,
            }
        };
        let result = tokio::time::timeout(self.config.timeout, check).await;
        result.unwrap_or(Ok(CheckResult::NetworkFailure)).unwrap_or(CheckResult::NetworkFailure)
    }

    /// The Host that is asked for: the check's, else the endpoint's, else the cluster's name.
    fn host<'a>(&'a self, peer: &'a Peer, wanted: &'a str) -> &'a str {
        match (wanted, &*peer.authority) {
            ("", "localhost") => &self.cluster,
            ("", authority) => authority,
            (wanted, _) => wanted,
        }
    }

    async fn http1(&self, peer: &Peer) -> Result<CheckResult, String> {
        let HealthCheckKind::Http { path, host, method, expected, request_headers, .. } = &self.config.kind
        else {
            return Err("no HTTP check".to_owned());
        };
        let method = if method.is_empty() { "GET" } else { method };
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host(peer, host));
        let has_agent = request_headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent"));
        if !has_agent {
            request.extend(["user-agent: ", USER_AGENT, "\r\n"]);
        }
        for (name, value) in request_headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str("connection: close\r\n\r\n");
        let mut io = dial::dial(peer).await?;
        io.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let head = read_head(&mut io).await?;
        let (status, is_degraded) = parse_head(&head).ok_or("no HTTP answer")?;
        Ok(judge(status, expected, is_degraded))
    }

    async fn http2(&self, peer: &Peer) -> Result<CheckResult, String> {
        let HealthCheckKind::Http { path, host, method, expected, request_headers, .. } = &self.config.kind
        else {
            return Err("no HTTP check".to_owned());
        };
        let (mut client, _guard) = grpc::connect(peer).await?;
        let scheme = if peer.tls.is_some() { "https" } else { "http" };
        let mut request = http::Request::builder()
            .method(if method.is_empty() { "GET" } else { method })
            .uri(format!("{scheme}://{}{path}", self.host(peer, host)))
            .header("user-agent", USER_AGENT);
        for (name, value) in request_headers {
            request = request.header(name, value);
        }
        let request = request.body(()).map_err(|error| error.to_string())?;
        let (response, _) = client.send_request(request, true).map_err(|error| error.to_string())?;
        let response = response.await.map_err(|error| error.to_string())?;
        let is_degraded = response.headers().contains_key("x-envoy-degraded");
        Ok(judge(response.status().as_u16(), expected, is_degraded))
    }
}

fn judge(status: u16, expected: &[(u16, u16)], is_degraded: bool) -> CheckResult {
    let is_expected = match expected {
        [] => status == 200,
        ranges => ranges.iter().any(|(from, to)| (*from..*to).contains(&status)),
    };
    match (is_expected, is_degraded) {
        (true, false) => CheckResult::Passed,
        (true, true) => CheckResult::Degraded,
        (false, _) => CheckResult::Refused,
    }
}

async fn read_head(io: &mut Box<dyn dial::Io>) -> Result<Vec<u8>, String> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if memchr::memmem::find(&head, b"\r\n\r\n").is_some() {
            return Ok(head);
        }
        let count = io.read_buf(&mut head).await.map_err(|error| error.to_string())?;
        if count == 0 || head.len() > MAX_HEAD {
            return Err("the answer has no end of its head".to_owned());
        }
    }
}

/// The status, and whether the endpoint calls itself degraded.
fn parse_head(head: &[u8]) -> Option<(u16, bool)> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let is_degraded = lines.take_while(|line| !line.is_empty()).any(|line| {
        line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case("x-envoy-degraded"))
    });
    Some((status, is_degraded))
}

/// What is sent, and what must come back in this order, with anything in between.
async fn tcp(peer: &Peer, send: &[u8], receive: &[Vec<u8>]) -> Result<CheckResult, String> {
    let mut io = dial::dial(peer).await?;
    if !send.is_empty() {
        io.write_all(send).await.map_err(|error| error.to_string())?;
    }
    let mut came = Vec::new();
    while !contains_in_order(&came, receive) {
        let count = io.read_buf(&mut came).await.map_err(|error| error.to_string())?;
        if count == 0 || came.len() > MAX_HEAD {
            return Ok(CheckResult::NetworkFailure);
        }
    }
    Ok(CheckResult::Passed)
}

fn contains_in_order(mut bytes: &[u8], parts: &[Vec<u8>]) -> bool {
    for part in parts {
        let Some(at) = memchr::memmem::find(bytes, part) else { return false };
        bytes = &bytes[at + part.len()..];
    }
    true
}

/// `grpc.health.v1.HealthCheckRequest`
#[derive(Clone, PartialEq, prost::Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`
#[derive(Clone, PartialEq, prost::Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

async fn grpc_check(peer: &Peer, service: &str, authority: &str) -> Result<CheckResult, String> {
    let mut peer = peer.clone();
    if !authority.is_empty() {
        peer.authority = authority.to_owned();
    }
    let request = HealthRequest { service: service.to_owned() }.encode_to_vec();
    match grpc::call(&peer, "/grpc.health.v1.Health/Check", &request).await {
        Ok(answer) => match HealthResponse::decode(answer as Bytes) {
            Ok(HealthResponse { status: SERVING }) => Ok(CheckResult::Passed),
            _ => Ok(CheckResult::Refused),
        },
        Err(CallError::Refused(why)) => {
            super::log::log!(Debug, "health check of {}: {why}", peer.address);
            Ok(CheckResult::Refused)
        }
        Err(CallError::Network(why)) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degraded_endpoint_says_so_in_a_header() {
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\nX-Envoy-Degraded: 1\r\n\r\n"), Some((200, true)));
        assert_eq!(parse_head(b"HTTP/1.0 503 no\r\n\r\nx-envoy-degraded: 1\r\n"), Some((503, false)));
        assert_eq!(parse_head(b"SSH-2.0\r\n\r\n"), None);
    }

    #[test]
    fn statuses_that_are_expected_pass() {
        assert_eq!(judge(200, &[], false), CheckResult::Passed);
        assert_eq!(judge(204, &[], false), CheckResult::Refused);
        assert_eq!(judge(299, &[(200, 300)], true), CheckResult::Degraded);
    }

    #[test]
    fn parts_of_a_tcp_answer_must_come_in_order() {
        let parts = [b"ab".to_vec(), b"cd".to_vec()];
        assert!(contains_in_order(b"xxabyycd", &parts));
        assert!(!contains_in_order(b"cdab", &parts));
    }
}

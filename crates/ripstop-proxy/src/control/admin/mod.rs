//! The admin interface: Envoy's paths and forms, as far as something here stands behind them.
mod clusters;
mod decisions;
mod dump;
mod http;
mod query;
mod statistics;

pub use http::{Door, serve};
pub use query::Query;

use super::log::log;
use super::mailbox::ToWorker;
use super::plane::Plane;
use ::http::{Method, StatusCode};
use ripstop_core::snapshot::Direction;
use ripstop_core::time::Time;
use std::sync::Arc;
use std::time::Duration;

const TEXT: &str = "text/plain; charset=UTF-8";
const JSON: &str = "application/json";

const HELP: &str = "\
/clusters: endpoints and how they fare
/config_dump: names and versions of resources
/decisions: why requests went where they went, JSON lines; ?id=REQUEST-ID &after=CURSOR &limit=N
<<<<<<< HEAD
/drain_listeners (POST): close what is listened on; ?inboundonly &graceful (after the drain time) &skip_exit (never)
=======
/decisions/watch (POST): keep one success of ?every=N &for=SECONDS
/drain_listeners (POST): close what is listened on; ?inboundonly &graceful &skip_exit
>>>>>>> b6a340e (observe, cli: decisions told by data planes; tap)
/listeners: names and addresses
/memory: what the process takes
/quitquitquit (POST): end
/ready: whether there is a first configuration
/server_info: version, state, uptime
/stats: counters, gauges, histograms; ?filter=REGEX &usedonly &format=prometheus
/stats/prometheus: the same for Prometheus
";

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// `content-type`
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Reply {
    fn text(body: impl Into<String>) -> Reply {
        Reply { status: StatusCode::OK, content_type: TEXT, body: body.into() }
    }

    fn json(body: String) -> Reply {
        Reply { status: StatusCode::OK, content_type: JSON, body }
    }

    fn fault(status: StatusCode, body: impl Into<String>) -> Reply {
        Reply { status, content_type: TEXT, body: body.into() }
    }
}

impl Plane {
    /// Answer a question.
    pub(super) fn answer(&mut self, query: &Query) -> Reply {
        let changes = matches!(&*query.path, "/decisions/watch" | "/drain_listeners" | "/quitquitquit");
        if changes && query.method != Method::POST {
            return Reply::fault(StatusCode::METHOD_NOT_ALLOWED, "use POST\n");
        }
        match &*query.path {
            "/" | "/help" => Reply::text(HELP),
            "/ready" => self.ready(),
            "/stats" => self.stats(query, query.get("format") == Some("prometheus")),
            "/stats/prometheus" => self.stats(query, true),
            "/clusters" => Reply::text(clusters::text(self)),
            "/decisions" => decisions::decisions(self, query),
            "/decisions/watch" => decisions::watch(self, query),
            "/listeners" => Reply::text(self.listeners_text()),
            "/config_dump" => Reply::json(dump::config_dump(self)),
            "/server_info" => Reply::json(dump::server_info(self)),
            "/memory" => Reply::json(dump::memory()),
            "/drain_listeners" => self.drain_listeners(query),
            "/quitquitquit" => {
                self.is_asked_to_quit = true;
                Reply::text("OK\n")
            }
            _ => Reply::fault(StatusCode::NOT_FOUND, format!("invalid path. admin commands are:\n{HELP}")),
        }
    }

    /// `LIVE`, `PRE_INITIALIZING` or `DRAINING`.
    pub(super) fn state(&self) -> &'static str {
        match (self.is_live, self.is_draining) {
            (false, _) => "PRE_INITIALIZING",
            (true, false) => "LIVE",
            (true, true) => "DRAINING",
        }
    }

    fn ready(&self) -> Reply {
        let status = match self.state() {
            "LIVE" => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Reply { status, content_type: TEXT, body: format!("{}\n", self.state()) }
    }

    fn listeners_text(&self) -> String {
        self.listening.values().map(|listener| format!("{}::{}\n", listener.name, listener.address)).collect()
    }

    /// Envoy: with `graceful` connections are asked to go and listeners go on accepting for the drain time, for ever with
    /// `skip_exit`; without it listeners close at once.
    fn drain_listeners(&mut self, query: &Query) -> Reply {
        let inbound_only = query.has("inboundonly");
        log!(Info, "asked to drain{}", if inbound_only { " what is inbound" } else { "" });
        if !query.has("graceful") {
            self.tell(|| ToWorker::Drain { inbound_only, patience: Duration::ZERO });
            self.close_listeners(inbound_only);
        } else if self.drain_end.is_none() {
            let patience = self.options.drain;
            self.tell(|| ToWorker::Drain { inbound_only, patience });
            let end = if query.has("skip_exit") { Time::NEVER } else { self.now().after(patience) };
            self.drain_end = Some((end, inbound_only));
        }
        Reply::text("OK\n")
    }

    /// Accept no more; what connections carry may end, for the drain time.
    pub(super) fn close_listeners(&mut self, inbound_only: bool) {
        let drain = self.options.drain;
        for name in self.listeners_of(inbound_only) {
            self.sockets.stop(&name);
            self.tell(|| ToWorker::ListenerGone { name: name.clone(), drain });
        }
    }

    fn listeners_of(&self, inbound_only: bool) -> Vec<Arc<str>> {
        let all = self.listening.values();
        all.filter(|l| !inbound_only || l.direction == Direction::Inbound).map(|l| l.name.clone()).collect()
    }
}

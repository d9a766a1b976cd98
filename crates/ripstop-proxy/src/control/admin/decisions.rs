//! `/decisions`: what was decided of exchanges, a line of JSON for each, the oldest first.
use super::{Query, Reply};
use crate::control::plane::Plane;
use http::StatusCode;
use std::time::Duration;

/// Lines of one answer unless `?limit=` says otherwise.
const LIMIT: usize = 100;
/// And at most.
const MOST: usize = 10_000;
/// A watch ends by itself, should whoever asked for it be gone.
const LONGEST_WATCH_S: u64 = 60;

/// `?id=` the request's id; `?after=` the cursor of the answer before, as its last line says; `?limit=`.
pub(super) fn decisions(plane: &Plane, query: &Query) -> Reply {
    let most = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(LIMIT).min(MOST);
    let after = cursors(query.get("after").unwrap_or_default());
    let id = query.get("id").unwrap_or_default().as_bytes();
    let (mut lines, mut dropped, mut last) = (Vec::new(), 0, Vec::new());
    for (index, worker) in plane.workers.iter().enumerate() {
        let ring = worker.stats.decisions.lock();
        ring.copy(id, after.get(index).copied().unwrap_or_default(), most, &mut lines);
        dropped += ring.dropped;
        last.push(ring.last().to_string());
    }
    let mut text = String::from_utf8_lossy(&lines).into_owned();
    text.push_str(&format!("{{\"cursor\":\"{}\",\"dropped\":{dropped}}}\n", last.join(".")));
    Reply::json(text)
}

/// `?every=N&for=SECONDS`: keep one success of N for so long; then the usual share again.
pub(super) fn watch(plane: &Plane, query: &Query) -> Reply {
    let number = |name| query.get(name).and_then(|text| text.parse::<u64>().ok());
    let (Some(every), Some(seconds)) = (number("every"), number("for")) else {
        return Reply::fault(StatusCode::BAD_REQUEST, "say every=N and for=SECONDS\n");
    };
    let until = plane.now().after(Duration::from_secs(seconds.min(LONGEST_WATCH_S)));
    for worker in &plane.workers {
        worker.stats.decisions.watch(every, until);
    }
    Reply::text("OK\n")
}

/// How far each worker's lines were read.
fn cursors(text: &str) -> Vec<u64> {
    text.split('.').map(|part| part.parse().unwrap_or_default()).collect()
}

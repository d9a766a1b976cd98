//! `/decisions`: what was decided of exchanges, a line of JSON for each, the oldest first.
use super::{Query, Reply};
use crate::control::plane::Plane;

/// Lines of one answer unless `?limit=` says otherwise.
const LIMIT: usize = 100;
/// And at most.
const MOST: usize = 10_000;

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

/// How far each worker's lines were read.
fn cursors(text: &str) -> Vec<u64> {
    text.split('.').map(|part| part.parse().unwrap_or_default()).collect()
}

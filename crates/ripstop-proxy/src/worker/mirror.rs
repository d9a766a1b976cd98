//! Copies of requests whose answers nobody waits for (Envoy: `request_mirror_policies`).
use super::Worker;
use super::exchange::{Exchange, Kind};
use super::slots::Key;
use ripstop_core::snapshot::Forward;
use ripstop_core::time::Time;

impl Worker {
    /// Begin the copies of a request that its route asks for.
    pub(crate) fn mirror(&mut self, ex: &Exchange, forward: &Forward) {
        if forward.mirrors.is_empty() || ex.kind != Kind::Http || self.overload.is_shedding() {
            return;
        }
        for mirror in &forward.mirrors {
            if !self.rng.chance(mirror.fraction.0) {
                continue;
            }
            let mut copy = self.spare.pop().unwrap_or_else(|| Box::new(Exchange::new()));
            copy.kind = Kind::Mirror;
            copy.request = ex.request.clone();
            copy.request_body = ex.request_body;
            copy.request_ended = ex.request_ended;
            copy.matched.clone_from(&ex.matched);
            copy.mirror_cluster = Some(mirror.cluster.clone());
            copy.is_replayable = false;
            copy.timeout_at =
                if forward.timeout.is_zero() { Time::NEVER } else { self.now.after(forward.timeout) };
            if !mirror.keeps_host {
                copy.request.set_authority(&shadow_host(ex.request.authority()));
            }
            let key = self.begin(copy);
            if !ex.request_ended {
                self.mirrors.push((ex.stream_id, key));
            }
            self.with_exchange(key, |worker, key, copy| worker.attempt(key, copy));
        }
    }

    pub(crate) fn mirror_data(&mut self, stream_id: u64, data: &[u8], end: bool) {
        if self.mirrors.is_empty() {
            return;
        }
        let copies: Vec<Key> =
            self.mirrors.iter().filter(|(of, _)| *of == stream_id).map(|(_, key)| *key).collect();
        for key in copies {
            self.request_data(key, data, end, 0);
        }
        if end {
            self.mirrors.retain(|(of, _)| *of != stream_id);
        }
    }
}

/// The host of a copy: `-shadow` before the port (Envoy `request_mirror_policies`).
fn shadow_host(authority: &[u8]) -> Vec<u8> {
    let colon =
        authority.iter().rposition(|byte| *byte == b':').filter(|at| !authority[*at..].contains(&b']'));
    let at = colon.unwrap_or(authority.len());
    [&authority[..at], b"-shadow", &authority[at..]].concat()
}

//! Built configurations by their content: another snapshot with the same contexts and secrets builds nothing, and connections of
//! all data threads share tickets. Used when snapshots change, never on the request path.
use super::config::{ClientTls, ConfigFault, ServerTls, client_config, secrets_of, server_config};
use ripstop_core::snapshot::{DownstreamTls, Named, Secret, UpstreamTls};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A context: its content's number and what lies outside of it.
type ContextKey = (u64, [bool; 3]);
type Entries<T> = HashMap<ContextKey, Vec<(Vec<Arc<Secret>>, Arc<T>)>>;

/// The cache; clones share it.
#[derive(Clone, Default)]
pub struct ConfigCache(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    servers: Entries<ServerTls>,
    clients: Entries<ClientTls>,
}

impl ConfigCache {
    /// The configuration of a downstream context with the secrets that there are now.
    pub fn server(
        &self,
        tls: &DownstreamTls,
        secrets: &Named<Secret>,
    ) -> Result<Arc<ServerTls>, ConfigFault> {
        let key = (tls.common.version, [tls.require_client_certificate, tls.resumes_sessions, tls.full_scan]);
        let used = secrets_of(&tls.common, secrets)?;
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        find_or_build(&mut inner.servers, key, used, || server_config(tls, secrets))
    }

    /// The configuration of an upstream context with the secrets that there are now.
    pub fn client(&self, tls: &UpstreamTls, secrets: &Named<Secret>) -> Result<Arc<ClientTls>, ConfigFault> {
        let key = (tls.common.version, [tls.auto_san_validation, tls.resumes_sessions, false]);
        let used = secrets_of(&tls.common, secrets)?;
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        find_or_build(&mut inner.clients, key, used, || client_config(tls, secrets))
    }

    /// Forget what nobody else holds.
    pub fn sweep(&self) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sweep(&mut inner.servers);
        sweep(&mut inner.clients);
    }
}

fn find_or_build<T>(
    entries: &mut Entries<T>,
    key: ContextKey,
    used: Vec<Arc<Secret>>,
    build: impl FnOnce() -> Result<Arc<T>, ConfigFault>,
) -> Result<Arc<T>, ConfigFault> {
    let known = entries.entry(key).or_default();
    // Equal pointers are equal without being compared.
    if let Some((_, built)) = known.iter().find(|(secrets, _)| *secrets == used) {
        return Ok(built.clone());
    }
    let built = build()?;
    known.push((used, built.clone()));
    Ok(built)
}

fn sweep<T>(entries: &mut Entries<T>) {
    entries.retain(|_, known| {
        known.retain(|(_, built)| Arc::strong_count(built) > 1);
        !known.is_empty()
    });
}

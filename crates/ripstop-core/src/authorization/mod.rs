//! Role-based access control for requests and connections (`filters.http.rbac`, `filters.network.rbac`).
mod closest;
mod matching;
#[cfg(test)]
mod tests;

pub use closest::{Near, Reasoned, reason_http, reason_network};

use crate::http::RequestHead;
use crate::record::{ConnectionInfo, DynamicMetadata, Told, Word};
use crate::snapshot::{HttpRbac, MetadataValue, NetworkRbac, Rbac, RbacAction};
use matching::Subject;
use std::net::IpAddr;
use std::sync::Arc;

/// What rules say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether they allow it.
    pub allowed: bool,
    /// The first policy that matches; none may.
    pub policy: Option<Arc<str>>,
    /// Rules whose action is LOG: whether the access log should have it (`access_log_hint`).
    pub log_hint: Option<bool>,
}

/// What a filter's rules say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Of `rules`; None when there are none, which allows.
    pub enforced: Option<Decision>,
    /// Of `shadow_rules`, which are only told.
    pub shadow: Option<Decision>,
}

impl Verdict {
    /// Whether it may go on. If not: 403 with the body `RBAC: access denied`, or the connection is closed.
    pub fn allowed(&self) -> bool {
        self.enforced.as_ref().is_none_or(|decision| decision.allowed)
    }

    /// `response_code_details` of a denial, and a connection's termination details.
    pub fn details(&self) -> String {
        let policy = self.enforced.as_ref().and_then(|decision| decision.policy.as_deref()).unwrap_or("none");
        let name: String = policy.chars().map(|c| if c.is_ascii_whitespace() { '_' } else { c }).collect();
        format!("rbac_access_denied_matched_policy[{name}]")
    }
}

/// What a filter says about a request. `remote` is the client's address as the request knows it (`x-forwarded-for` counted).
pub fn check_http(
    rbac: &HttpRbac,
    connection: &ConnectionInfo,
    remote: IpAddr,
    head: &RequestHead,
) -> Verdict {
    check(rbac.rules.as_deref(), rbac.shadow_rules.as_deref(), &Subject::request(connection, remote, head))
}

/// What a filter says about a connection. Rules about headers and paths match nothing.
pub fn check_network(rbac: &NetworkRbac, connection: &ConnectionInfo) -> Verdict {
    check(rbac.rules.as_deref(), rbac.shadow_rules.as_deref(), &Subject::connection(connection))
}

fn check(rules: Option<&Rbac>, shadow_rules: Option<&Rbac>, subject: &Subject<'_>) -> Verdict {
    Verdict {
        shadow: shadow_rules.map(|rules| decide(rules, subject)),
        enforced: rules.map(|rules| decide(rules, subject)),
    }
}

/// ALLOW: a policy must match. DENY: none may. LOG allows.
fn decide(rules: &Rbac, subject: &Subject<'_>) -> Decision {
    let found = rules.policies.iter().find(|(_, policy)| subject.fits(policy));
    let (allowed, log_hint) = match rules.action {
        RbacAction::Allow => (found.is_some(), None),
        RbacAction::Deny => (found.is_none(), None),
        RbacAction::Log => (true, Some(found.is_some())),
    };
    Decision { allowed, policy: found.map(|(name, _)| name.clone()), log_hint }
}

/// The filter that dynamic metadata is kept under.
pub const METADATA: &str = "envoy.filters.http.rbac";

/// Write what shadow rules said: `{prefix}shadow_engine_result` and, when a policy matched,
/// `{prefix}shadow_effective_policy_id`. To be called before a denial is answered.
///
/// `prefix` is that of the filter in the chain (`shadow_rules_stat_prefix`), not that of a route.
pub fn tell_shadow(verdict: &Verdict, prefix: &str, metadata: &mut DynamicMetadata) {
    if let Some(decision) = &verdict.shadow {
        tell_decision(decision, prefix, "shadow_", metadata);
    }
}

/// Write what enforced rules said: `{prefix}enforced_engine_result`, `{prefix}enforced_effective_policy_id`. A denial is
/// answered before this, so its local reply does not see them; access logs do.
///
/// `prefix` is that of the filter in the chain (`rules_stat_prefix`).
pub fn tell_enforced(verdict: &Verdict, prefix: &str, metadata: &mut DynamicMetadata) {
    let Some(decision) = &verdict.enforced else { return };
    if let Some(hint) = decision.log_hint {
        let value = Told::Value(MetadataValue::Bool(hint));
        metadata.set(Word::Static("envoy.common"), &["access_log_hint"], value);
    }
    tell_decision(decision, prefix, "enforced_", metadata);
}

/// Write what both said; `rbac` is the filter in the chain.
pub fn tell(verdict: &Verdict, rbac: &HttpRbac, metadata: &mut DynamicMetadata) {
    tell_shadow(verdict, &rbac.shadow_prefix, metadata);
    tell_enforced(verdict, &rbac.rules_prefix, metadata);
}

fn tell_decision(decision: &Decision, prefix: &str, kind: &str, metadata: &mut DynamicMetadata) {
    let mut tell = |end, word| metadata.set(Word::Static(METADATA), &[prefix, kind, end], Told::Word(word));
    if let Some(policy) = &decision.policy {
        tell("effective_policy_id", Word::Shared(policy.clone()));
    }
    tell("engine_result", Word::Static(if decision.allowed { "allowed" } else { "denied" }));
}

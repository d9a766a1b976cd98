//! RBAC: the engine's rules, and the HTTP and network filters around them.
use super::basic;
use super::matching;
use super::reader::Reader;
use crate::snapshot::{HttpRbac, NetworkRbac, Permission, Principal, Rbac, RbacAction, RbacPolicy};
use ripstop_xds::envoy::config::rbac::v3 as rbac;
use ripstop_xds::envoy::extensions::filters::http::rbac::v3 as http;
use ripstop_xds::envoy::extensions::filters::network::rbac::v3 as network;
use ripstop_xds::envoy::r#type::v3 as kinds;
use std::sync::Arc;

/// `filters.http.rbac.v3.RBAC`
pub(super) fn http_rbac(reader: &mut Reader, config: http::Rbac) -> HttpRbac {
    let http::Rbac {
        rules: enforced,
        rules_stat_prefix,
        matcher,
        shadow_rules,
        shadow_matcher,
        shadow_rules_stat_prefix,
        track_per_rule_stats,
    } = config;
    refuse!(reader, matcher, shadow_matcher);
    ignore!("statistics", track_per_rule_stats);
    HttpRbac {
        rules: reader.optional("rules", enforced, rules),
        rules_prefix: rules_stat_prefix,
        shadow_rules: reader.optional("shadow_rules", shadow_rules, rules),
        shadow_prefix: shadow_rules_stat_prefix,
    }
}

/// `RBACPerRoute`; without a filter in it, it says that nothing is checked.
pub(super) fn per_route(reader: &mut Reader, config: http::RbacPerRoute) -> Option<Arc<HttpRbac>> {
    let http::RbacPerRoute { rbac } = config;
    reader.optional("rbac", rbac, |reader, config| Some(Arc::new(http_rbac(reader, config))))
}

/// `filters.network.rbac.v3.RBAC`
pub(super) fn network_rbac(reader: &mut Reader, config: network::Rbac) -> NetworkRbac {
    use network::rbac::EnforcementType;
    let network::Rbac {
        rules: enforced,
        matcher,
        shadow_rules,
        shadow_matcher,
        shadow_rules_stat_prefix,
        stat_prefix,
        enforcement_type,
        delay_deny,
    } = config;
    refuse!(reader, matcher, shadow_matcher, delay_deny);
    if reader.choice::<EnforcementType>("enforcement_type", enforcement_type) == EnforcementType::Continuous {
        reader.fault_at("enforcement_type", "CONTINUOUS is not supported");
    }
    reader.text("stat_prefix", &stat_prefix);
    NetworkRbac {
        rules: reader.optional("rules", enforced, rules),
        shadow_rules: reader.optional("shadow_rules", shadow_rules, rules),
        shadow_prefix: shadow_rules_stat_prefix,
        stat_prefix,
    }
}

/// `config.rbac.v3.RBAC`. Policies come sorted by name, for the message holds them in a sorted map.
fn rules(reader: &mut Reader, rules: rbac::Rbac) -> Option<Arc<Rbac>> {
    use rbac::rbac::{Action, AuditLoggingOptions};
    let rbac::Rbac { action, policies, audit_logging_options } = rules;
    if let Some(AuditLoggingOptions { audit_condition, logger_configs }) = audit_logging_options {
        ignore!("of loggers alone", audit_condition);
        reader.at("audit_logging_options", |reader| refuse!(reader, logger_configs));
    }
    let action = match reader.choice("action", action) {
        Action::Allow => RbacAction::Allow,
        Action::Deny => RbacAction::Deny,
        Action::Log => RbacAction::Log,
    };
    let policies = reader.entries("policies", policies, |reader, _, found| Some(policy(reader, found)));
    let policies = policies.into_iter().map(|(name, policy)| (Arc::from(name), policy)).collect();
    Some(Arc::new(Rbac { action, policies }))
}

fn policy(reader: &mut Reader, policy: rbac::Policy) -> RbacPolicy {
    let rbac::Policy { permissions, principals, condition, checked_condition, cel_config } = policy;
    refuse!(reader, condition, checked_condition);
    ignore!("of conditions alone", cel_config);
    if permissions.is_empty() {
        reader.fault_at("permissions", "must not be empty");
    }
    if principals.is_empty() {
        reader.fault_at("principals", "must not be empty");
    }
    RbacPolicy {
        permissions: reader.each("permissions", permissions, permission),
        principals: reader.each("principals", principals, principal),
    }
}

fn permission(reader: &mut Reader, wanted: rbac::Permission) -> Option<Permission> {
    use rbac::permission::{Rule, Set};
    let unsupported = match wanted.rule {
        Some(Rule::AndRules(Set { rules })) => {
            return permissions(reader, "and_rules", rules).map(Permission::And);
        }
        Some(Rule::OrRules(Set { rules })) => {
            return permissions(reader, "or_rules", rules).map(Permission::Or);
        }
        Some(Rule::NotRule(inner)) => {
            let inner = reader.at("not_rule", |reader| permission(reader, *inner))?;
            return Some(Permission::Not(Box::new(inner)));
        }
        Some(Rule::Any(true)) => return Some(Permission::Any),
        Some(Rule::Header(wanted)) => {
            return reader.at("header", |reader| matching::header(reader, wanted)).map(Permission::Header);
        }
        Some(Rule::UrlPath(wanted)) => {
            return reader.at("url_path", |reader| matching::path(reader, wanted)).map(Permission::UrlPath);
        }
        Some(Rule::DestinationIp(range)) => {
            return reader
                .at("destination_ip", |reader| basic::cidr(reader, range))
                .map(Permission::DestinationIp);
        }
        Some(Rule::DestinationPort(port)) => {
            return Some(Permission::DestinationPort(reader.port("destination_port", port)));
        }
        Some(Rule::DestinationPortRange(range)) => {
            return reader.at("destination_port_range", |reader| port_range(reader, range));
        }
        Some(Rule::RequestedServerName(wanted)) => {
            return reader
                .at("requested_server_name", |reader| matching::string(reader, wanted))
                .map(Permission::RequestedServerName);
        }
        Some(Rule::Any(false)) => "any: false",
        Some(Rule::Metadata(_)) => "metadata",
        Some(Rule::Matcher(_)) => "matcher",
        Some(Rule::UriTemplate(_)) => "uri_template",
        Some(Rule::SourcedMetadata(_)) => "sourced_metadata",
        None => return empty(reader),
    };
    reader.fault(format!("{unsupported} is not supported"));
    None
}

fn empty<T>(reader: &mut Reader) -> Option<T> {
    reader.fault("is empty");
    None
}

/// All of a set, or nothing: a set that lost a member would let more through, or less.
fn permissions(reader: &mut Reader, field: &str, rules: Vec<rbac::Permission>) -> Option<Vec<Permission>> {
    reader.at(field, |reader| {
        let count = rules.len();
        if count == 0 {
            reader.fault_at("rules", "must not be empty");
        }
        let made = reader.each("rules", rules, permission);
        (made.len() == count).then_some(made)
    })
}

fn port_range(reader: &mut Reader, range: kinds::Int32Range) -> Option<Permission> {
    let kinds::Int32Range { start, end } = range;
    let start = reader.within("start", start, 0, 65_535);
    let end = reader.within("end", end, 1, 65_536);
    if start >= end {
        reader.fault("is empty");
    }
    let last = 65_535;
    let range = Permission::DestinationPortRange(start as u16, end.min(last) as u16);
    // The end is not included, and one past the highest port does not fit into the model.
    Some(if end > last { Permission::Or(vec![range, Permission::DestinationPort(u16::MAX)]) } else { range })
}

fn principal(reader: &mut Reader, wanted: rbac::Principal) -> Option<Principal> {
    use rbac::principal::{Authenticated, Identifier, Set};
    let unsupported = match wanted.identifier {
        Some(Identifier::AndIds(Set { ids })) => {
            return principals(reader, "and_ids", ids).map(Principal::And);
        }
        Some(Identifier::OrIds(Set { ids })) => return principals(reader, "or_ids", ids).map(Principal::Or),
        Some(Identifier::NotId(inner)) => {
            let inner = reader.at("not_id", |reader| principal(reader, *inner))?;
            return Some(Principal::Not(Box::new(inner)));
        }
        Some(Identifier::Any(true)) => return Some(Principal::Any),
        Some(Identifier::Authenticated(Authenticated { principal_name: None })) => {
            return Some(Principal::Authenticated(None));
        }
        Some(Identifier::Authenticated(Authenticated { principal_name: Some(wanted) })) => {
            let name =
                reader.at("authenticated.principal_name", |reader| matching::string(reader, wanted))?;
            return Some(Principal::Authenticated(Some(name)));
        }
        Some(Identifier::SourceIp(range)) => {
            return reader.at("source_ip", |reader| basic::cidr(reader, range)).map(Principal::SourceIp);
        }
        Some(Identifier::DirectRemoteIp(range)) => {
            return reader
                .at("direct_remote_ip", |reader| basic::cidr(reader, range))
                .map(Principal::DirectRemoteIp);
        }
        Some(Identifier::RemoteIp(range)) => {
            return reader.at("remote_ip", |reader| basic::cidr(reader, range)).map(Principal::RemoteIp);
        }
        Some(Identifier::Header(wanted)) => {
            return reader.at("header", |reader| matching::header(reader, wanted)).map(Principal::Header);
        }
        Some(Identifier::UrlPath(wanted)) => {
            return reader.at("url_path", |reader| matching::path(reader, wanted)).map(Principal::UrlPath);
        }
        Some(Identifier::Any(false)) => "any: false",
        Some(Identifier::Metadata(_)) => "metadata",
        Some(Identifier::FilterState(_)) => "filter_state",
        Some(Identifier::SourcedMetadata(_)) => "sourced_metadata",
        Some(Identifier::Custom(_)) => "custom",
        None => return empty(reader),
    };
    reader.fault(format!("{unsupported} is not supported"));
    None
}

fn principals(reader: &mut Reader, field: &str, ids: Vec<rbac::Principal>) -> Option<Vec<Principal>> {
    reader.at(field, |reader| {
        let count = ids.len();
        if count == 0 {
            reader.fault_at("ids", "must not be empty");
        }
        let made = reader.each("ids", ids, principal);
        (made.len() == count).then_some(made)
    })
}

//! RouteConfigurations, their virtual hosts and domains; scopes.
use super::filters::per_filter;
use super::mutation;
use super::reader::Reader;
use super::retry::retry_policy;
use super::route;
use super::route_action::mirrors;
use crate::snapshot::{Domains, Mirror, RouteConfig, VirtualHost};
use ripstop_xds::envoy::config::route::v3 as proto;
use std::sync::Arc;

/// Envoy's `max_direct_response_body_size_bytes`.
const MAX_BODY: u32 = 4096;

/// What holds for all routes of a configuration or a virtual host that do not say otherwise.
#[derive(Clone)]
pub(super) struct Inherited {
    pub(super) mirrors: Vec<Mirror>,
    pub(super) max_body: usize,
}

/// A RouteConfiguration that comes by a name.
pub(super) fn named_configuration(
    reader: &mut Reader,
    config: proto::RouteConfiguration,
) -> Option<RouteConfig> {
    reader.text("name", &config.name);
    Some(configuration(reader, config))
}

/// A RouteConfiguration; one within a connection manager needs no name.
pub(super) fn configuration(reader: &mut Reader, config: proto::RouteConfiguration) -> RouteConfig {
    let proto::RouteConfiguration {
        name,
        virtual_hosts,
        vhds,
        internal_only_headers,
        response_headers_to_add,
        response_headers_to_remove,
        request_headers_to_add,
        request_headers_to_remove,
        most_specific_header_mutations_wins,
        validate_clusters,
        max_direct_response_body_size_bytes,
        cluster_specifier_plugins,
        request_mirror_policies,
        ignore_port_in_host_matching,
        vhost_header,
        ignore_path_parameters_in_path_matching,
        typed_per_filter_config,
        metadata,
    } = config;
    refuse!(reader, vhds, internal_only_headers, cluster_specifier_plugins, vhost_header);
    refuse!(reader, ignore_path_parameters_in_path_matching);
    ignore!(
        "a request for a cluster that is not there is answered, whenever it goes missing",
        validate_clusters
    );
    ignore!("nothing reads it", metadata);
    let inherited = Inherited {
        mirrors: mirrors(reader, request_mirror_policies),
        max_body: max_direct_response_body_size_bytes.unwrap_or(MAX_BODY) as usize,
    };
    let domains = prepared(reader, domains_of(&virtual_hosts));
    RouteConfig {
        virtual_hosts: reader.each("virtual_hosts", virtual_hosts, |reader, host| {
            Some(Arc::new(virtual_host(reader, host, &inherited)))
        }),
        domains,
        ignores_port: ignore_port_in_host_matching,
        request_headers: mutation::changes(
            reader,
            "request",
            request_headers_to_add,
            request_headers_to_remove,
        ),
        response_headers: mutation::changes(
            reader,
            "response",
            response_headers_to_add,
            response_headers_to_remove,
        ),
        most_specific_wins: most_specific_header_mutations_wins,
        per_filter: per_filter(reader, typed_per_filter_config),
        name: name.into(),
    }
}

fn virtual_host(reader: &mut Reader, host: proto::VirtualHost, inherited: &Inherited) -> VirtualHost {
    let proto::VirtualHost {
        name,
        domains,
        routes,
        matcher,
        require_tls,
        virtual_clusters,
        rate_limits,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        cors,
        typed_per_filter_config,
        include_request_attempt_count,
        include_attempt_count_in_response,
        retry_policy: retry,
        retry_policy_typed_config,
        hedge_policy,
        include_is_timeout_retry_header,
        per_request_buffer_limit_bytes,
        request_body_buffer_limit,
        request_mirror_policies,
        metadata,
    } = host;
    refuse!(reader, matcher, cors, retry_policy_typed_config, hedge_policy, include_is_timeout_retry_header);
    refuse!(reader, per_request_buffer_limit_bytes, request_body_buffer_limit);
    ignore!("statistics", virtual_clusters);
    ignore!("of rate limit filters with descriptors, which are refused", rate_limits);
    ignore!("nothing reads it", metadata);
    reader.text("name", &name);
    if domains.is_empty() {
        reader.fault_at("domains", "must not be empty");
    }
    let mut own = inherited.clone();
    let mirrored = mirrors(reader, request_mirror_policies);
    if !mirrored.is_empty() {
        own.mirrors = mirrored;
    }
    VirtualHost {
        routes: reader
            .each("routes", routes, |reader, found| route::route(reader, found, &own).map(Arc::new)),
        request_headers: mutation::changes(
            reader,
            "request",
            request_headers_to_add,
            request_headers_to_remove,
        ),
        response_headers: mutation::changes(
            reader,
            "response",
            response_headers_to_add,
            response_headers_to_remove,
        ),
        per_filter: per_filter(reader, typed_per_filter_config),
        require_tls: tls_requirement(reader, require_tls),
        retry: reader.optional("retry_policy", retry, retry_policy),
        tells_attempts: include_request_attempt_count,
        answers_attempts: include_attempt_count_in_response,
        name: name.into(),
    }
}

fn tls_requirement(reader: &mut Reader, wanted: i32) -> Option<bool> {
    use proto::virtual_host::TlsRequirementType;
    match reader.choice("require_tls", wanted) {
        TlsRequirementType::None => None,
        TlsRequirementType::ExternalOnly => Some(false),
        TlsRequirementType::All => Some(true),
    }
}

// --- domains ---

/// A domain, its virtual host, its place among that one's domains.
type Domain = (String, u32, usize);

fn domains_of(hosts: &[proto::VirtualHost]) -> Vec<Domain> {
    let mut found = Vec::new();
    for (index, host) in (0..).zip(hosts) {
        for (place, domain) in host.domains.iter().enumerate() {
            found.push((domain.to_ascii_lowercase(), index, place));
        }
    }
    found
}

/// The table of domains. A domain belongs to one virtual host, and a star stands at one end of it.
fn prepared(reader: &mut Reader, domains: Vec<Domain>) -> Domains {
    let mut made = Domains::default();
    let mut seen = std::collections::HashSet::new();
    for (domain, host, place) in domains {
        if let Err(problem) = check_domain(&domain) {
            reader.fault_at(&format!("virtual_hosts[{host}].domains[{place}]"), problem);
            continue;
        }
        if !seen.insert(domain.clone()) {
            let problem = format!("'{domain}' is given twice in this configuration");
            reader.fault_at(&format!("virtual_hosts[{host}].domains[{place}]"), problem);
            continue;
        }
        let bytes = |text: &str| text.as_bytes().into();
        if domain == "*" {
            made.any = Some(host);
        } else if let Some(suffix) = domain.strip_prefix('*') {
            made.suffixes.push((bytes(suffix), host));
        } else if let Some(prefix) = domain.strip_suffix('*') {
            made.prefixes.push((bytes(prefix), host));
        } else {
            made.exact.insert(bytes(&domain), host);
        }
    }
    made.suffixes.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    made.prefixes.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    made
}

fn check_domain(domain: &str) -> Result<(), String> {
    if domain.is_empty() {
        return Err("must not be empty".to_owned());
    }
    let inner = domain.strip_prefix('*').or_else(|| domain.strip_suffix('*')).unwrap_or(domain);
    if inner.contains('*') {
        return Err(format!("'{domain}': a star stands at the beginning or the end"));
    }
    Ok(())
}

// --- scopes ---

/// A `ScopedRouteConfiguration`: its key, the RouteConfiguration it leads to, its own name.
pub(super) fn scope(
    reader: &mut Reader,
    scope: proto::ScopedRouteConfiguration,
) -> Option<(Arc<str>, Arc<str>, Arc<str>)> {
    use proto::scoped_route_configuration::{Key, key::Fragment, key::fragment::Type};
    let proto::ScopedRouteConfiguration {
        on_demand,
        name,
        route_configuration_name,
        route_configuration,
        key,
    } = scope;
    refuse!(reader, on_demand, route_configuration);
    reader.text("name", &name);
    reader.text("route_configuration_name", &route_configuration_name);
    let key = reader.required("key", key, |reader, Key { fragments }| {
        if fragments.len() != 1 {
            reader.fault_at("fragments", "exactly one is supported");
        }
        let found = reader.each("fragments", fragments, |reader, Fragment { r#type }| match r#type {
            Some(Type::StringKey(key)) => Some(key),
            None => {
                reader.fault("is empty");
                None
            }
        });
        found.into_iter().next()
    })?;
    Some((key.into(), route_configuration_name.into(), name.into()))
}

/// A RouteConfiguration within a connection manager.
pub(super) fn inline(reader: &mut Reader, config: proto::RouteConfiguration) -> Option<Arc<RouteConfig>> {
    Some(Arc::new(configuration(reader, config)))
}

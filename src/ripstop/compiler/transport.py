"""Where configuration comes from, and how peers prove who they are: ADS, SDS, TLS contexts."""

from __future__ import annotations

from functools import cache

from ripstop.compiler.extension import transport_socket
from ripstop.ids import ServiceId, SpiffeId
from ripstop.model.topology import TlsOrigination
from ripstop.xds import names, pb

H2 = "h2"
HTTP1 = "http/1.1"
TCP_ALPN = "ripstop-tcp"
TLS = "envoy.transport_sockets.tls"
SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt"
"""Envoy reads no system store by itself (`system_root_certs` is not implemented); this is Debian's bundle."""


@cache
def ads() -> pb.Message:
    """A `core.v3.ConfigSource` that means: by the aggregated stream."""
    return pb.ConfigSource(ads=pb.AggregatedConfigSource(), resource_api_version=pb.ApiVersion.V3)


def from_agent(name: str) -> pb.Message:
    """A secret by SDS from the agent's own socket: keys never cross the network."""
    grpc = pb.GrpcService(envoy_grpc={"cluster_name": names.AGENT_SDS})
    source = pb.ApiConfigSource(
        api_type=pb.ApiConfigSource.GRPC,
        transport_api_version=pb.ApiVersion.V3,
        grpc_services=[grpc],
        set_node_on_first_message_only=True,
    )
    config = pb.ConfigSource(api_config_source=source, resource_api_version=pb.ApiVersion.V3)
    return pb.SdsSecretConfig(name=name, sds_config=config)


def _from_ads(name: str) -> pb.Message:
    return pb.SdsSecretConfig(name=name, sds_config=ads())


def uri_matcher(**how: str) -> pb.Message:
    """A `SubjectAltNameMatcher` on the peer's URI; `exact=` or `prefix=`."""
    return pb.SubjectAltNameMatcher(
        san_type=pb.SubjectAltNameMatcher.SanType.URI, matcher=pb.StringMatcher(**how)
    )


def _mesh_context(matchers: list[pb.Message], alpn: tuple[str, ...]) -> pb.Message:
    """`CommonTlsContext` of both sides of the mesh: TLS 1.3, own SVID, the peer's URI by `matchers`."""
    tls13 = pb.TlsParameters.TlsProtocol.TLSv1_3
    return pb.CommonTlsContext(
        tls_params={"tls_minimum_protocol_version": tls13, "tls_maximum_protocol_version": tls13},
        tls_certificate_sds_secret_configs=[from_agent(names.SVID)],
        combined_validation_context={
            "default_validation_context": {"match_typed_subject_alt_names": matchers},
            "validation_context_sds_secret_config": from_agent(names.TRUST),
        },
        alpn_protocols=alpn,
    )


@cache
def mesh_server(trust_domain: str, alpn: tuple[str, ...]) -> pb.Message:
    """The TLS context of inbound listeners: a client certificate of this trust domain is required.

    Sessions are not resumed: a resumed one would not look at the peer's certificate again.
    """
    context = pb.DownstreamTlsContext(
        common_tls_context=_mesh_context([uri_matcher(prefix=f"spiffe://{trust_domain}/")], alpn),
        require_client_certificate=pb.BoolValue(value=True),
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return transport_socket(TLS, context)


def mesh_client(
    trust_domain: str, peers: tuple[ServiceId, ...], namespace: str, alpn: tuple[str, ...], sni: str = ""
) -> pb.Message:
    """The TLS context of calls: the peer must show one of `peers`' identities; without any, one of `namespace`."""
    matchers = [uri_matcher(exact=str(SpiffeId(trust_domain, peer))) for peer in peers]
    matchers = matchers or [uri_matcher(prefix=f"spiffe://{trust_domain}/ns/{namespace}/sa/")]
    context = pb.UpstreamTlsContext(
        common_tls_context=_mesh_context(matchers, alpn), sni=sni, max_session_keys=pb.UInt32Value(value=0)
    )
    return transport_socket(TLS, context)


def tls_client(origination: TlsOrigination, alpn: tuple[str, ...]) -> pb.Message:
    """TLS towards a server outside the mesh, verified by name (BackendTLSPolicy)."""
    wanted = origination.subject_alt_names or (origination.server_name,)
    ca = {"inline_string": origination.ca_pem} if origination.ca_pem else {"filename": SYSTEM_ROOTS}
    validation = pb.CertificateValidationContext(
        trusted_ca=ca, match_typed_subject_alt_names=[_san(name) for name in wanted]
    )
    common = pb.CommonTlsContext(
        tls_params={
            "tls_minimum_protocol_version": pb.TlsParameters.TlsProtocol.TLSv1_2,
            "tls_maximum_protocol_version": pb.TlsParameters.TlsProtocol.TLSv1_3,
        },
        validation_context=validation,
        alpn_protocols=alpn,
    )
    return transport_socket(
        TLS, pb.UpstreamTlsContext(common_tls_context=common, sni=origination.server_name)
    )


def _san(name: str) -> pb.Message:
    kind = pb.SubjectAltNameMatcher.SanType
    san_type = kind.URI if "://" in name else kind.DNS
    return pb.SubjectAltNameMatcher(san_type=san_type, matcher=pb.StringMatcher(exact=name))


def gateway_server(certificate_names: tuple[str, ...], alpn: tuple[str, ...]) -> pb.Message:
    """The TLS context of a gateway's HTTPS listener; certificates come by SDS over ADS."""
    common = pb.CommonTlsContext(
        tls_params={"tls_minimum_protocol_version": pb.TlsParameters.TlsProtocol.TLSv1_2},
        tls_certificate_sds_secret_configs=[
            _from_ads(names.listener_certificate(name)) for name in certificate_names
        ],
        alpn_protocols=alpn,
    )
    return transport_socket(TLS, pb.DownstreamTlsContext(common_tls_context=common))

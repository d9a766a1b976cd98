"""HTTP filters that decide: authorization, faults, rate limits, CORS, sessions."""

from __future__ import annotations

from typing import Any

from ..case import API, Cluster, Stage, case, http_filter, request, to
from ..upstreams import Script, answer, raw

ANY = [{"any": True}]


def path(prefix: str) -> dict[str, Any]:
    return {"url_path": {"path": {"prefix": prefix}}}


def header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"name": name, "string_match": {"exact": value}}}


def rules(action: str, **policies: tuple[list[Any], list[Any]]) -> dict[str, Any]:
    return {
        "action": action,
        "policies": {
            name: {"permissions": what, "principals": who} for name, (what, who) in policies.items()
        },
    }


SHADOW_LOG = {
    "shadow": "%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_engine_result)%",
    "shadow_policy": "%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_effective_policy_id)%",
    "enforced": "%DYNAMIC_METADATA(envoy.filters.http.rbac:enforced_engine_result)%",
    "policy": "%DYNAMIC_METADATA(envoy.filters.http.rbac:enforced_effective_policy_id)%",
}


@case(
    filters=[
        http_filter(
            "envoy.filters.http.rbac",
            "rbac.v3.RBAC",
            rules=rules(
                "ALLOW",
                readers=(
                    [
                        {
                            "and_rules": {
                                "rules": [
                                    path("/read"),
                                    {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
                                ]
                            }
                        }
                    ],
                    ANY,
                ),
                owners=([path("/own")], [header("x-user", "owner")]),
                local=([{"destination_port": 1}], ANY),
                near=(
                    [path("/near")],
                    [{"direct_remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}],
                ),
                far=(
                    [path("/far")],
                    [{"not_id": {"remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}}],
                ),
            ),
            shadow_rules=rules("DENY", shady=([path("/read/secret")], ANY)),
        )
    ],
    log=SHADOW_LOG,
)
async def authorization_allows_and_denies(s: Stage) -> None:
    for where in ("/read", "/read/secret", "/own", "/near", "/far", "/"):
        await s.ask(where)
    await s.ask("/own", x_user="owner")
    await s.ask("/read", method="POST", body=b"x")
    await s.send(request("/", content_type="application/grpc"))


@case(
    filters=[
        http_filter(
            "envoy.filters.http.rbac",
            "rbac.v3.RBAC",
            rules=rules("DENY", closed=([path("/closed")], ANY), named=([ANY[0]], [header("x-user", "eve")])),
        )
    ],
    manager={
        "local_reply_config": {
            "mappers": [
                {
                    "filter": {
                        "status_code_filter": {
                            "comparison": {"op": "EQ", "value": {"default_value": 403, "runtime_key": "x"}}
                        }
                    },
                    "body_format_override": {
                        "json_format": {
                            "who": "%DYNAMIC_METADATA(envoy.filters.http.rbac:enforced_effective_policy_id)%",
                            "why": "%RESPONSE_CODE_DETAILS%",
                            "what": "%LOCAL_REPLY_BODY%",
                        }
                    },
                }
            ]
        }
    },
    log=SHADOW_LOG,
)
async def a_denial_says_by_which_policy(s: Stage) -> None:
    for where in ("/closed", "/open"):
        await s.ask(where)
    await s.ask("/open", x_user="eve")


@case(
    filters=[
        http_filter(
            "envoy.filters.http.rbac", "rbac.v3.RBAC", rules=rules("ALLOW", none=([path("/never")], ANY))
        )
    ],
    routes=[
        to(prefix="/own")
        | {
            "typed_per_filter_config": {
                "envoy.filters.http.rbac": {
                    "@type": API + "extensions.filters.http.rbac.v3.RBACPerRoute",
                    "rbac": {"rules": rules("ALLOW", all=(ANY, ANY))},
                }
            }
        },
        to(prefix="/off")
        | {
            "typed_per_filter_config": {
                "envoy.filters.http.rbac": {"@type": API + "extensions.filters.http.rbac.v3.RBACPerRoute"}
            }
        },
        to(),
    ],
)
async def a_route_has_rules_of_its_own(s: Stage) -> None:
    for where in ("/own", "/off", "/never", "/"):
        await s.ask(where)


def fault(**fields: Any) -> dict[str, Any]:
    return {
        "typed_per_filter_config": {
            "envoy.filters.http.fault": {"@type": API + "extensions.filters.http.fault.v3.HTTPFault"} | fields
        }
    }


ALL = {"numerator": 100, "denominator": "HUNDRED"}


@case(
    filters=[http_filter("envoy.filters.http.fault", "fault.v3.HTTPFault")],
    routes=[
        to(prefix="/abort") | fault(abort={"http_status": 418, "percentage": ALL}),
        to(prefix="/grpc") | fault(abort={"grpc_status": 7, "percentage": ALL}),
        to(prefix="/delay") | fault(delay={"fixed_delay": "0.2s", "percentage": ALL}),
        to(prefix="/both")
        | fault(
            delay={"fixed_delay": "0.1s", "percentage": ALL}, abort={"http_status": 503, "percentage": ALL}
        ),
        to(prefix="/some")
        | fault(
            abort={"http_status": 500, "percentage": ALL},
            headers=[{"name": "x-fault", "present_match": True}],
        ),
        to(prefix="/never") | fault(abort={"http_status": 500, "percentage": {"numerator": 0}}),
        to(),
    ],
)
async def faults_are_injected(s: Stage) -> None:
    for where in ("/abort", "/grpc", "/delay", "/both", "/some", "/never", "/"):
        await s.ask(where)
    await s.ask("/some", x_fault="1")
    await s.send(request("/grpc", content_type="application/grpc"))
    await s.ask("/delay", method="POST", body=b"kept while it waits")


def limit(**fields: Any) -> dict[str, Any]:
    return http_filter(
        "envoy.filters.http.local_ratelimit",
        "local_ratelimit.v3.LocalRateLimit",
        **{
            "stat_prefix": "limit",
            "token_bucket": {"max_tokens": 2, "tokens_per_fill": 2, "fill_interval": "60s"},
            "filter_enabled": {"default_value": ALL},
            "filter_enforced": {"default_value": ALL},
        }
        | fields,
    )


@case(
    filters=[
        limit(
            response_headers_to_add=[{"header": {"key": "x-limited", "value": "yes"}}],
            status={"code": "ServiceUnavailable"},
            rate_limited_as_resource_exhausted=True,
        )
    ]
)
async def a_rate_is_limited(s: Stage) -> None:
    for _ in range(3):
        await s.ask("/")
    await s.send(request("/", content_type="application/grpc"))


@case(filters=[limit(filter_enforced={"default_value": {"numerator": 0}})])
async def a_limit_that_is_not_enforced(s: Stage) -> None:
    for _ in range(3):
        await s.ask("/")


@case(filters=[limit()])
async def a_limit_as_it_comes(s: Stage) -> None:
    client = await s.connect()
    for _ in range(4):
        await client.send(request("/"))
        await client.answer()


CORS = {
    "typed_per_filter_config": {
        "envoy.filters.http.cors": {
            "@type": API + "extensions.filters.http.cors.v3.CorsPolicy",
            "allow_origin_string_match": [{"exact": "http://good.test"}, {"suffix": ".good.test"}],
            "allow_methods": "GET, POST",
            "allow_headers": "x-one,x-two",
            "expose_headers": "x-seen",
            "max_age": "600",
            "allow_credentials": True,
        }
    }
}


@case(
    filters=[http_filter("envoy.filters.http.cors", "cors.v3.Cors")],
    routes=[to(prefix="/cors") | CORS, to()],
    up=[answer(headers={"access-control-allow-origin": "up", "access-control-expose-headers": "x-up"})],
)
async def other_origins_are_told_what_they_may(s: Stage) -> None:
    asks = {"access_control_request_method": "POST"}
    for where, headers in (
        *(("/cors", {"origin": "http://good.test"}), ("/cors", {"origin": "http://bad.test"}), ("/cors", {})),
        *(("/cors", {"origin": "http://a.good.test"}), ("/", {"origin": "http://good.test"})),
    ):
        await s.ask(where, **headers)
        await s.ask(where, method="OPTIONS", **headers)
        await s.ask(where, method="OPTIONS", **asks, **headers)


def session(kind: str, **fields: Any) -> list[dict[str, Any]]:
    state = {"@type": API + f"extensions.http.stateful_session.{kind}"} | fields
    return [
        http_filter(
            "envoy.filters.http.stateful_session",
            "stateful_session.v3.StatefulSession",
            session_state={
                "name": "envoy.http.stateful_session." + kind.split(".")[0],
                "typed_config": state,
            },
        )
    ]


TWO = {
    "up": Cluster(
        [Script((answer(body=b"a"),)), Script((answer(body=b"a"),))], extra={"lb_policy": "ROUND_ROBIN"}
    )
}
HIDDEN = {"upstream": "-"}


@case(
    filters=session(
        "cookie.v3.CookieBasedSessionState", cookie={"name": "stick", "path": "/", "ttl": "120s"}
    ),
    clusters=TWO,
    log=HIDDEN,
)
async def a_cookie_keeps_a_client_with_its_host(s: Stage) -> None:
    first = await s.ask("/")
    s.seen.pop()
    value = (first.get("set-cookie") or "").split(";")
    s.note(attributes=value[1:])
    cookie = value[0]
    before = [len(up.seen) for up in s.upstreams.values()]
    for _ in range(4):
        await s.ask("/", cookie=cookie)
    after = [len(up.seen) for up in s.upstreams.values()]
    s.note(moved=sorted(b - a for a, b in zip(before, after, strict=True)))
    await s.ask("/", cookie="stick=bm9ib2R5")
    s.seen.pop()
    for up in s.upstreams.values():
        up.seen.clear()


@case(filters=session("header.v3.HeaderBasedSessionState", name="x-stick"), clusters=TWO, log=HIDDEN)
async def a_header_keeps_a_client_with_its_host(s: Stage) -> None:
    first = await s.ask("/")
    s.seen.pop()
    value = first.get("x-stick") or ""
    s.note(has_one=bool(value))
    before = [len(up.seen) for up in s.upstreams.values()]
    for _ in range(4):
        await s.ask("/", x_stick=value)
        s.seen.pop()
    after = [len(up.seen) for up in s.upstreams.values()]
    s.note(moved=sorted(b - a for a, b in zip(before, after, strict=True)))
    for up in s.upstreams.values():
        up.seen.clear()


@case(
    routes=[
        {
            "match": {"prefix": "/"},
            "route": {
                "cluster": "@up",
                "hash_policy": [{"cookie": {"name": "h", "ttl": "60s", "path": "/p"}}],
            },
        }
    ],
    clusters={"up": Cluster([Script(), Script()], extra={"lb_policy": "RING_HASH"})},
    log=HIDDEN,
)
async def a_hash_cookie_is_set_once(s: Stage) -> None:
    first = await s.ask("/")
    s.seen.pop()
    s.note(attributes=(first.get("set-cookie") or "").split(";")[1:])
    await s.ask("/", cookie="h=1")
    for up in s.upstreams.values():
        up.seen.clear()


@case(
    up=[raw(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-up: 1\r\n\r\nabc")],
    log={
        "own": "%REQ(x-own?x-other):4% %RESP(x-up)% %ROUTE_NAME% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        "cx": "%CONNECTION_TERMINATION_DETAILS% %DOWNSTREAM_TLS_VERSION% %REQUESTED_SERVER_NAME% %UPSTREAM_PROTOCOL%",
    },
)
async def a_log_line_says_what_it_is_asked_for(s: Stage) -> None:
    await s.ask("/", x_other="abcdefgh")
    await s.ask("/")

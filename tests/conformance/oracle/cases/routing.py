"""Which route a request takes, and what the route makes of it."""

from __future__ import annotations

from typing import Any

from ..case import Cluster, Stage, case, http_filter, request, to
from ..upstreams import Refused, Script, answer, then_reset


def says(text: str, **match: Any) -> dict[str, Any]:
    """A route that answers by itself which one it is."""
    return {"match": match, "direct_response": {"status": 200, "body": {"inline_string": text}}}


@case(
    routes=[
        says("exact", path="/exact"),
        says("separated", path_separated_prefix="/sep"),
        says("regex", safe_regex={"regex": "/r[0-9]+(/x)?"}),
        says("ci", prefix="/Case", case_sensitive=False),
        says("prefix", prefix="/pre"),
        says("slash", prefix="/s/"),
    ]
)
async def paths_choose_the_first_route_that_matches(s: Stage) -> None:
    for path in (
        *(
            "/exact",
            "/exact?a=b",
            "/exact/",
            "/sep",
            "/sep/a",
            "/separate",
            "/sep?q",
            "/r12",
            "/r12/x",
            "/r12/y",
        ),
        *(
            "/r",
            "/cAsE/1",
            "/pre",
            "/prefix/a",
            "/pr",
            "/s",
            "/s/",
            "//exact",
            "/exact#frag",
            "/pre%2Fa",
            "/%70re",
        ),
    ):
        await s.ask(path)


@case(
    routes=[
        says("exact", prefix="/", headers=[{"name": "x-e", "string_match": {"exact": "one"}}]),
        says("present", prefix="/", headers=[{"name": "x-p", "present_match": True}]),
        says("regex", prefix="/", headers=[{"name": "x-r", "string_match": {"safe_regex": {"regex": "a+"}}}]),
        says("range", prefix="/", headers=[{"name": "x-n", "range_match": {"start": 10, "end": 20}}]),
        says("host", prefix="/", headers=[{"name": ":authority", "string_match": {"prefix": "special"}}]),
        says(
            "absent and not",
            prefix="/",
            headers=[
                {"name": "x-a", "present_match": False},
                {"name": "x-b", "string_match": {"exact": "no"}, "invert_match": True},
            ],
        ),
        says("rest", prefix="/"),
    ]
)
async def headers_choose_the_route(s: Stage) -> None:
    for headers in (
        *({"x_e": "one"}, {"x_e": "One"}, {"x_p": ""}, {"x_p": "v"}, {"x_r": "aaa"}, {"x_r": "aaab"}),
        *(
            {"x_n": "10"},
            {"x_n": "20"},
            {"x_n": "-3"},
            {"x_n": "x"},
            {"x_a": "1"},
            {"x_b": "no"},
            {"x_b": "yes"},
        ),
        {"x_a": "1", "x_b": "no"},
    ):
        await s.ask("/", **headers)
    await s.ask("/", host="special.test", x_a="1")
    await s.send(b"GET / HTTP/1.1\r\nhost: a\r\nx-e: zero\r\nx-e: one\r\nx-a: 1\r\n\r\n")


@case(
    routes=[
        says("exact", prefix="/", query_parameters=[{"name": "a", "string_match": {"exact": "1"}}]),
        says("present", prefix="/", query_parameters=[{"name": "b", "present_match": True}]),
        says("post", prefix="/", headers=[{"name": ":method", "string_match": {"exact": "POST"}}]),
        says("rest", prefix="/"),
    ]
)
async def queries_and_methods_choose_the_route(s: Stage) -> None:
    for path in (
        "/?a=1",
        "/?a=2",
        "/?a",
        "/?b",
        "/?b=",
        "/?c&b=3",
        "/?A=1",
        "/?a=1&a=2",
        "/?a=%31",
        "/?",
        "/",
    ):
        await s.ask(path)
    await s.ask("/", method="POST", body=b"x")
    await s.ask("/", method="post", body=b"x")


@case(
    hosts={
        "all": [
            {"name": "exact", "domains": ["exact.test"], "routes": [says("exact", prefix="/")]},
            {"name": "suffix", "domains": ["*.test"], "routes": [says("suffix", prefix="/")]},
            {"name": "longer", "domains": ["*.long.test"], "routes": [says("longer", prefix="/")]},
            {"name": "prefix", "domains": ["www.*"], "routes": [says("prefix", prefix="/")]},
            {"name": "port", "domains": ["port.test:81"], "routes": [says("port", prefix="/")]},
        ]
    }
)
async def domains_choose_the_virtual_host(s: Stage) -> None:
    for host in (
        *("exact.test", "EXACT.test", "exact.test:80", "a.test", ".test", "b.long.test", "www.a", "www.test"),
        *("port.test", "port.test:81", "other", "a.test.", ""),
    ):
        await s.ask("/", host=host)


@case(
    routes=[
        {
            "match": {"prefix": "/w"},
            "route": {
                "weighted_clusters": {
                    "clusters": [{"name": "@none", "weight": 0}, {"name": "@up", "weight": 100}]
                }
            },
        },
        {"match": {"prefix": "/h"}, "route": {"cluster_header": "x-to"}},
    ],
    clusters={"up": Cluster(), "none": Cluster()},
)
async def a_weight_of_zero_gets_nothing_and_a_header_names_the_cluster(s: Stage) -> None:
    for _ in range(5):
        await s.ask("/w")
    await s.ask("/h", x_to=s.cluster("none"))
    await s.ask("/h", x_to="nowhere")
    await s.ask("/h")


@case(
    routes=[
        {"match": {"prefix": "/https"}, "redirect": {"https_redirect": True}},
        {"match": {"prefix": "/host"}, "redirect": {"host_redirect": "other.test", "response_code": "FOUND"}},
        {"match": {"prefix": "/port"}, "redirect": {"port_redirect": 8443}},
        {"match": {"prefix": "/path"}, "redirect": {"path_redirect": "/new?x=y"}},
        {"match": {"prefix": "/strip"}, "redirect": {"path_redirect": "/new", "strip_query": True}},
        {"match": {"prefix": "/prefix"}, "redirect": {"prefix_rewrite": "/p", "response_code": "SEE_OTHER"}},
        {
            "match": {"prefix": "/t"},
            "redirect": {"scheme_redirect": "https", "response_code": "TEMPORARY_REDIRECT"},
        },
        {
            "match": {"prefix": "/re"},
            "redirect": {
                "regex_rewrite": {"pattern": {"regex": "^/re/(.*)$"}, "substitution": "/\\1/er"},
                "response_code": "PERMANENT_REDIRECT",
            },
        },
    ]
)
async def redirects_say_where_to(s: Stage) -> None:
    for path in (
        *("/https/a?b=c", "/host", "/port", "/path?q=1", "/strip?q=1", "/prefix/x?q=1", "/prefixed"),
        *("/t?u", "/re/a/b?q", "/re"),
    ):
        await s.ask(path)
    await s.ask("/https", host="a.test:80")
    await s.ask("/host", host="a.test:8080")
    await s.ask("/port", host="a.test:80", method="HEAD")


@case(
    routes=[
        {
            "match": {"prefix": "/full"},
            "direct_response": {"status": 418, "body": {"inline_string": "teapot"}},
        },
        {"match": {"prefix": "/none"}, "direct_response": {"status": 204}},
        {"match": {"prefix": "/empty"}, "direct_response": {"status": 503}},
        {
            "match": {"prefix": "/type"},
            "direct_response": {"status": 200, "body": {"inline_string": "{}"}},
            "response_headers_to_add": [
                {
                    "header": {"key": "content-type", "value": "application/json"},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                },
                {"header": {"key": "x-own", "value": "1"}},
            ],
        },
    ]
)
async def direct_responses_are_given(s: Stage) -> None:
    for path in ("/full", "/none", "/empty", "/type", "/unknown"):
        await s.ask(path)
    await s.ask("/full", method="HEAD")
    await s.ask("/full", method="POST", body=b"body")


@case(
    routes=[
        to(prefix="/a/", prefix_rewrite="/"),
        to(prefix="/b", prefix_rewrite="/c"),
        to(prefix="/d", prefix_rewrite="/", host_rewrite_literal="new.test"),
        to(prefix="/r", regex_rewrite={"pattern": {"regex": "[0-9]+"}, "substitution": "N"}),
        to(prefix="/h", host_rewrite_header="x-host"),
        to(prefix="/x", host_rewrite_literal="fwd.test", append_x_forwarded_host=True),
        {"match": {"path": "/exact"}, "route": {"cluster": "@up", "prefix_rewrite": "/other"}},
        {"match": {"path_separated_prefix": "/sep"}, "route": {"cluster": "@up", "prefix_rewrite": "/q"}},
    ]
)
async def paths_and_hosts_are_rewritten(s: Stage) -> None:
    for path in ("/a/b?c=d", "/a/", "/b/x", "/bb", "/d", "/dd?e", "/r/12/34", "/r12?n=5", "/exact?q=1"):
        await s.ask(path)
    for path in ("/sep", "/sep/z?y", "/x"):
        await s.ask(path)
    await s.ask("/h", x_host="wanted.test")
    await s.ask("/h")


@case(
    routes=[
        {
            "match": {"prefix": "/"},
            "route": {"cluster": "@up"},
            "request_headers_to_add": [
                {"header": {"key": "x-append", "value": "route"}},
                {
                    "header": {"key": "x-over", "value": "route"},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                },
                {"header": {"key": "x-absent", "value": "route"}, "append_action": "ADD_IF_ABSENT"},
                {"header": {"key": "x-exists", "value": "route"}, "append_action": "OVERWRITE_IF_EXISTS"},
                {
                    "header": {
                        "key": "x-from",
                        "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %PROTOCOL% %REQ(x-in)%",
                    }
                },
                {"header": {"key": "x-empty", "value": "%REQ(x-none)%"}},
                {"header": {"key": "x-percent", "value": "100%%"}},
            ],
            "request_headers_to_remove": ["x-gone"],
            "response_headers_to_add": [
                {"header": {"key": "x-append", "value": "route"}},
                {"header": {"key": "x-code", "value": "%RESPONSE_CODE%"}},
                {"header": {"key": "server", "value": "own"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"},
            ],
            "response_headers_to_remove": ["x-secret"],
        }
    ],
    hosts={
        "request_headers_to_add": [{"header": {"key": "x-append", "value": "host"}}],
        "response_headers_to_add": [{"header": {"key": "x-append", "value": "host"}}],
    },
    up=[
        answer(
            headers={
                "x-append": "up",
                "x-secret": "s",
                "server": "up/1",
                "X-Upper": "Case",
                "set-cookie": "a=b",
            }
        )
    ],
)
async def headers_are_changed_both_ways(s: Stage) -> None:
    await s.ask("/")
    await s.ask(
        "/", x_append="client", x_over="client", x_absent="client", x_exists="client", x_gone="1", x_in="in"
    )
    await s.send(b"GET / HTTP/1.1\r\nhost: a\r\nx-over: 1\r\nx-over: 2\r\nx-gone: 1\r\nX-Gone: 2\r\n\r\n")


@case(
    filters=[
        http_filter(
            "mutate",
            "header_mutation.v3.HeaderMutation",
            mutations={
                "request_mutations": [
                    {"remove": "x-gone"},
                    {"append": {"header": {"key": "x-new", "value": "filter"}}},
                ],
                "response_mutations": [
                    {"append": {"header": {"key": "x-answer", "value": "filter"}}},
                    {"remove": "x-secret"},
                ],
            },
        )
    ],
    up=[answer(headers={"x-secret": "s", "x-answer": "up"})],
)
async def a_filter_changes_headers(s: Stage) -> None:
    await s.ask("/", x_gone="1", x_new="client")


@case(up=[answer(headers={"connection": "x-hop", "x-hop": "1", "keep-alive": "timeout=5", "x-stay": "1"})])
async def hop_by_hop_fields_end_here(s: Stage) -> None:
    await s.send(
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, x-mine\r\nx-mine: 1\r\nkeep-alive: 1\r\n"
        b"proxy-connection: keep-alive\r\nte: trailers, deflate\r\nupgrade: h2c\r\nx-stay: 1\r\n\r\n"
    )
    await s.send(b"GET / HTTP/1.1\r\nhost: a\r\nte: gzip\r\n\r\n")
    await s.send(b"GET / HTTP/1.1\r\nhost: a\r\nproxy-authorization: x\r\nproxy-authenticate: y\r\n\r\n")


FORWARDED = b"x-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: https\r\nx-forwarded-host: f.test\r\n"
IDS = b"x-request-id: mine\r\nx-envoy-expected-rq-timeout-ms: 5\r\nx-envoy-internal: true\r\n"


@case()
async def forwarded_fields_and_ids_of_a_request_inside(s: Stage) -> None:
    await s.send(b"GET / HTTP/1.1\r\nhost: a\r\n" + FORWARDED + b"\r\n")
    await s.send(b"GET / HTTP/1.1\r\nhost: a\r\nx-request-id: mine\r\n\r\n")
    await s.ask("/")


@case(manager={"use_remote_address": True, "via": "mesh", "always_set_request_id_in_response": True})
async def forwarded_fields_and_ids_of_a_request_from_outside(s: Stage) -> None:
    await s.send(b"GET / HTTP/1.1\r\nhost: a\r\n" + FORWARDED + b"x-request-id: mine\r\n\r\n")
    await s.ask("/")


TELLING = {"proxy_status_config": {"literal_proxy_name": "here"}, "always_set_request_id_in_response": True}


@case(
    manager=TELLING,
    routes=[to("@empty", "/empty"), to("@refuses", "/refuses"), to(prefix="/up")],
    clusters={
        "up": Cluster(
            [Script((answer(503, headers={"proxy-status": "there; error=dns_error"}), then_reset()))]
        ),
        "empty": Cluster([]),
        "refuses": Cluster([Refused()]),
    },
)
async def errors_are_told_by_proxy_status(s: Stage) -> None:
    for path in ("/up", "/up", "/empty", "/refuses", "/none"):
        await s.ask(path, x_request_id="mine")


@case(
    manager={"proxy_status_config": {"remove_details": True}, "server_name": "edge"},
    clusters={"up": Cluster([])},
)
async def errors_are_told_without_details(s: Stage) -> None:
    await s.ask("/")


@case(
    manager={
        "use_remote_address": True,
        "preserve_external_request_id": True,
        "skip_xff_append": True,
        "server_name": "edge",
        "server_header_transformation": "APPEND_IF_ABSENT",
    },
    up=[answer(headers={"server": "up"}), answer()],
)
async def an_edge_may_keep_ids_and_addresses_of_its_clients(s: Stage) -> None:
    await s.send(b"GET / HTTP/1.1\r\nhost: a\r\n" + FORWARDED + b"x-request-id: mine\r\n\r\n")
    await s.ask("/")


@case(
    manager={
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
    }
)
async def paths_are_normalised(s: Stage) -> None:
    for path in (
        "/a/../b",
        "/a//b",
        "/./a",
        "/a/..",
        "/..",
        "/a%2fb",
        "/a%5Cb",
        "/a\\b",
        "/%61",
        "/a/%2e%2e/b",
    ):
        await s.ask(path)
    await s.ask("/a?x=/../y//z")


@case(
    clusters={
        "up": Cluster([Script((answer(body=b"main"),))]),
        "copy": Cluster([Script((answer(500, body=b"copy"),))]),
    },
    routes=[to(request_mirror_policies=[{"cluster": "@copy"}])],
)
async def copies_go_to_the_mirror_and_their_answers_nowhere(s: Stage) -> None:
    await s.ask("/a?b", x_own="1")
    await s.ask("/a", method="POST", body=b"payload", host="h.test:81")
    await s.pause(0.3)


@case(
    manager={
        "local_reply_config": {
            "mappers": [
                {
                    "filter": {
                        "status_code_filter": {
                            "comparison": {"op": "EQ", "value": {"default_value": 404, "runtime_key": "x"}}
                        }
                    },
                    "status_code": 410,
                    "body": {"inline_string": "gone"},
                    "body_format_override": {
                        "json_format": {
                            "s": "%RESPONSE_CODE%",
                            "p": "%REQ(:PATH)%",
                            "b": "%LOCAL_REPLY_BODY%",
                        }
                    },
                    "headers_to_add": [{"header": {"key": "x-mapped", "value": "yes"}}],
                }
            ],
            "body_format": {
                "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY% (%RESPONSE_CODE%)\n"}
            },
        }
    },
    routes=[says("said", prefix="/direct"), to(prefix="/gone", cluster="@refused"), to("@up", "/up")],
    clusters={"up": Cluster([Script((answer(404, b"from upstream"),))]), "refused": Cluster([])},
)
async def local_replies_are_mapped_and_others_are_not(s: Stage) -> None:
    for path in ("/nowhere?q", "/direct", "/gone", "/up"):
        await s.ask(path)
    await s.send(request("/nowhere", content_type="application/grpc"))

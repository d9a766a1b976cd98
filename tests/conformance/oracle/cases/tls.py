"""TLS at both ends: who is let in, whom we trust, and what is said of it."""

from __future__ import annotations

import ssl

from ..case import Cluster, Stage, case, http_filter, request, to
from ..h2peer import H2Host, h2_answer
from ..identities import INSPECTOR, client_context, downstream, identity, server_context, upstream
from ..upstreams import Script

LOG = {
    "peer": "%DOWNSTREAM_PEER_URI_SAN%",
    "own": "%DOWNSTREAM_LOCAL_URI_SAN%",
    "version": "%DOWNSTREAM_TLS_VERSION%",
    "name": "%REQUESTED_SERVER_NAME%",
    "subject": "%DOWNSTREAM_PEER_SUBJECT%",
    "up_peer": "%UPSTREAM_PEER_URI_SAN%",
}


async def ask(s: Stage, context: ssl.SSLContext, path: str = "/", server_name: str = "a.test") -> None:
    """A request by TLS; a handshake that fails is seen as such, at whichever end it is noticed."""
    try:
        client = await s.connect(context, server_name)
    except OSError:
        s.note(handshake="refused")
        return
    await client.send(request(path))
    message = await client.answer()
    if not message.start.startswith("HTTP/"):
        client.seen[:] = [{"handshake": "refused"}]
        s.seen.remove(client.seen)
        s.note(handshake="refused")


RBAC = http_filter(
    "envoy.filters.http.rbac",
    "rbac.v3.RBAC",
    rules={
        "action": "ALLOW",
        "policies": {
            "friends": {
                "permissions": [{"any": True}],
                "principals": [{"authenticated": {"principal_name": {"exact": "spiffe://mesh/friend"}}}],
            }
        },
    },
)


@case(
    chains=[downstream(identity("server"), alpn=("h2", "http/1.1"))],
    filters=[RBAC],
    manager={
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"subject": True, "uri": True, "dns": True},
    },
    log=LOG,
)
async def clients_show_who_they_are(s: Stage) -> None:
    await ask(s, client_context(identity("friend", dns="friend.test")))
    await ask(s, client_context(identity("other")))
    await ask(s, client_context(identity("friend", by="stranger")))
    await ask(s, client_context())


@case(chains=[downstream(identity("server"), sans=("friend", "cousin"))], log=LOG)
async def only_some_names_are_let_in(s: Stage) -> None:
    for name in ("friend", "cousin", "other"):
        await ask(s, client_context(identity(name)))


@case(chains=[downstream(identity("server"), mutual=False)], log=LOG)
async def a_server_that_asks_for_no_certificate(s: Stage) -> None:
    await ask(s, client_context())
    await ask(s, client_context(identity("friend")))
    old = client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    await ask(s, old)
    client = await s.connect()
    await client.send(request("/"))
    await client.ends()
    client.seen[:] = [{"connection": client.seen[0]["connection"].split(" ")[0]}]


@case(chains=[downstream(identity("server"), mutual=False, alpn=("h2", "http/1.1"))], log=LOG)
async def alpn_chooses_the_protocol(s: Stage) -> None:
    client = await s.h2(client_context(None, "h2", "http/1.1"))
    await client.ask("/")
    s.note(alpn=client.writer.get_extra_info("ssl_object").selected_alpn_protocol())
    await ask(s, client_context(None, "http/1.1"))
    await ask(s, client_context(None, "spdy"))


@case(
    listener=INSPECTOR,
    chains=[
        {"filter_chain_match": {"server_names": ["one.test"]}} | downstream(identity("one"), mutual=False),
        {"filter_chain_match": {"server_names": ["*.wild.test"]}}
        | downstream(identity("wild"), mutual=False),
    ],
    log=LOG,
)
async def the_name_asked_for_chooses_the_chain(s: Stage) -> None:
    for name in ("one.test", "a.wild.test", "wild.test", "unknown.test", "ONE.test"):
        await ask(s, client_context(), server_name=name)


@case(
    routes=[
        to("@good", "/good"),
        to("@wrong", "/wrong"),
        to("@nobody", "/nobody"),
        to("@stranger", "/stranger"),
        to("@plain", "/plain"),
    ],
    clusters={
        "good": Cluster(
            [Script()], extra=upstream(identity("client"), "backend"), tls=server_context(identity("backend"))
        ),
        "wrong": Cluster(
            [Script()], extra=upstream(identity("client"), "other"), tls=server_context(identity("backend"))
        ),
        "nobody": Cluster(
            [Script()], extra=upstream(None, "backend"), tls=server_context(identity("backend"))
        ),
        "stranger": Cluster(
            [Script()],
            extra=upstream(identity("client")),
            tls=server_context(identity("backend", by="stranger")),
        ),
        "plain": Cluster([Script()], extra=upstream(identity("client"))),
    },
    log=LOG,
)
async def upstreams_show_who_they_are(s: Stage) -> None:
    for path in ("/good", "/wrong", "/stranger"):
        await s.ask(path)


@case(
    clusters={
        "up": Cluster(
            [H2Host((h2_answer(),))],
            h2=True,
            extra=upstream(identity("client"), "backend", alpn=("h2",)),
            tls=server_context(identity("backend"), "h2"),
        )
    },
    chains=[downstream(identity("server"), alpn=("h2",))],
    log=LOG,
)
async def the_whole_way_by_mutual_tls_and_http2(s: Stage) -> None:
    client = await s.h2(client_context(identity("friend"), "h2"))
    await client.ask("/", method="POST", body=b"x" * 100_000)

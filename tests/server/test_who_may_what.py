"""Who may have what: join tokens, identities, ADS, the API's two doors."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from ripstop.clock import SystemClock
from ripstop.errors import InvalidDocuments, Refused
from ripstop.identity import CertificateAuthority, certificate_request, new_key, read_join_token
from ripstop.ids import ServiceId, SpiffeId
from ripstop.proxy.control_client import ControlClient, Place, trusted_place
from ripstop.testing import LocalMesh
from ripstop.xds import pb, type_urls

pytestmark = pytest.mark.e2e


def token_of(mesh: LocalMesh, service: str, **wish: Any) -> str:
    with mesh.client() as client:
        return str(client.post("/v1/tokens", {"service": service, **wish})["token"])


def enrol(client: ControlClient, key: bytes, service: str, **more: Any) -> Any:
    body = {"csr_pem": certificate_request(key).decode(), "namespace": "default", "service": service}
    return client.post("/v1/enrol", {**body, "instance": "one", **more})


@pytest.fixture
def remote(mesh: LocalMesh) -> Iterator[ControlClient]:
    """A client from elsewhere: TLS, no certificate, no token."""
    told = read_join_token(token_of(mesh, "any"))
    with ControlClient(trusted_place(told.api, told.fingerprint)) as client:
        yield client


def test_a_service_joins_from_another_host_by_its_token(mesh: LocalMesh) -> None:
    """No unix socket, no state directory: the token is all that is given."""
    env = {k: v for k, v in mesh.env.items() if k != "RIPSTOP_STATE"}
    env |= {"RIPSTOP_TOKEN": token_of(mesh, "faraway"), "HOME": "/nonexistent"}
    words = ["-m", "ripstop", "run", "faraway", "--quiet", "--", "sh", "-c", "curl -s http://nobody/"]
    done = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, check=False)
    assert "nothing in the mesh is called nobody" in done.stdout, done.stderr


def test_a_token_works_once_and_for_its_service(mesh: LocalMesh, remote: ControlClient) -> None:
    secret = read_join_token(token_of(mesh, "orders")).secret
    with pytest.raises(Refused, match="is for default/orders"):
        enrol(remote, new_key(), "web", join_token=secret)
    secret = read_join_token(token_of(mesh, "orders")).secret
    assert "BEGIN CERTIFICATE" in enrol(remote, new_key(), "orders", join_token=secret)["certificate_pem"]
    with pytest.raises(Refused, match="used up"):
        enrol(remote, new_key(), "orders", join_token=secret)


def test_a_reusable_token_works_until_its_time(mesh: LocalMesh, remote: ControlClient) -> None:
    secret = read_join_token(token_of(mesh, "orders", reusable=True)).secret
    for _ in range(3):
        enrol(remote, new_key(), "orders", join_token=secret)


@pytest.mark.parametrize("cut", [5, 20, 60])
def test_a_damaged_token_is_told_without_repeating_it(mesh: LocalMesh, cut: int) -> None:
    token = token_of(mesh, "orders")[:-cut]
    with pytest.raises(Refused, match="cut short") as told:
        read_join_token(token)
    assert token[10:30] not in str(told.value)


def test_a_token_of_another_mesh_is_not_told_anything(mesh: LocalMesh) -> None:
    told = read_join_token(token_of(mesh, "orders"))
    with pytest.raises(Refused, match="another fingerprint"):
        trusted_place(told.api, "0" * 64)


def test_strangers_get_nothing(remote: ControlClient) -> None:
    for path in (
        "/v1/status",
        "/v1/documents",
        "/v1/signals",
        "/metrics",
        "/v1/nodes/default/web/one/snapshot",
    ):
        with pytest.raises(Refused, match="operators"):
            remote.text(path)
    with pytest.raises(Refused, match="does not speak for default/web"):
        enrol(remote, new_key(), "web")


def test_the_control_planes_own_identity_is_not_to_be_had(mesh: LocalMesh) -> None:
    body = {
        "csr_pem": certificate_request(new_key()).decode(),
        "namespace": "ripstop",
        "service": "control-plane",
    }
    with mesh.client() as client, pytest.raises(Refused, match="control plane's own"):
        client.post("/v1/enrol", {**body, "instance": "one"})


def test_an_agent_speaks_for_its_own_service_alone(mesh: LocalMesh) -> None:
    told = read_join_token(token_of(mesh, "orders"))
    place, key = trusted_place(told.api, told.fingerprint), new_key()
    with ControlClient(place) as first:
        certificate = enrol(first, key, "orders", join_token=told.secret)["certificate_pem"].encode()
    with ControlClient(place, certificate=(certificate, key)) as agent:
        enrol(agent, new_key(), "orders")  # renewal
        for path in ("/v1/registrations/default/web/one", "/v1/registrations/other/orders/one"):
            with pytest.raises(Refused, match="does not speak for"):
                agent.put(path, {})
        with pytest.raises(Refused):
            agent.get("/v1/status")
        with pytest.raises(InvalidDocuments, match="fault"):
            agent.put("/v1/registrations/default/orders/one", {"node": 7, "color": "red"})


def test_an_operator_token_opens_the_far_door(mesh: LocalMesh) -> None:
    token = (mesh.state / "operator.token").read_text().strip()
    assert (mesh.state / "operator.token").stat().st_mode & 0o777 == 0o600
    told = read_join_token(token_of(mesh, "orders"))
    with ControlClient(trusted_place(told.api, told.fingerprint), token=token) as client:
        assert client.get("/v1/status")["trust_domain"] == "ripstop.local"
    with (
        ControlClient(trusted_place(told.api, told.fingerprint), token="wrong") as client,
        pytest.raises(Refused),
    ):
        client.get("/v1/status")


def test_keys_are_for_their_owner_alone(mesh: LocalMesh) -> None:
    for file in (mesh.state / "ca").glob("*.key"):
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert mesh.state.stat().st_mode & 0o777 == 0o700
    assert (mesh.state / "ripstop.sock").stat().st_mode & 0o777 == 0o600


def test_a_foreign_certificate_is_not_let_in(mesh: LocalMesh, tmp_path: Path) -> None:
    stranger = CertificateAuthority.open(tmp_path / "ca", "ripstop.local", SystemClock())
    key = new_key()
    mine = stranger.issue(
        certificate_request(key), SpiffeId("ripstop.local", ServiceId("default", "web")), 3600
    )
    told = read_join_token(token_of(mesh, "orders"))
    place = trusted_place(told.api, told.fingerprint)
    with (
        pytest.raises(Exception, match=r"(?i)tls|ssl|disconnect|answer"),
        ControlClient(place, certificate=(mine.certificate_pem, key)) as client,
    ):
        client.put("/v1/registrations/default/web/one", {})


# --- ADS ---


def ads_call(mesh: LocalMesh, service: str, requests: list[Any], *, delta: bool = False) -> list[Any]:
    """What an ADS stream with the identity of `service` answers to `requests`; raises the status it ends with."""
    key = new_key()
    with mesh.client() as client:
        got = enrol(client, key, service)
    credentials = grpc.ssl_channel_credentials(
        got["trust_pem"].encode(), key, got["certificate_pem"].encode()
    )
    name = "DeltaAggregatedResources" if delta else "StreamAggregatedResources"
    with grpc.secure_channel(got["ads"], credentials) as channel:
        call = channel.stream_stream(
            f"/envoy.service.discovery.v3.AggregatedDiscoveryService/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.DiscoveryResponse.FromString,
        )
        return list(call(iter(requests), timeout=5))


def request(node: str, *names: str, type_url: str = type_urls.CLUSTER) -> Any:
    return pb.DiscoveryRequest(node={"id": node}, type_url=type_url, resource_names=names)


def test_a_node_gets_no_other_services_resources(mesh: LocalMesh) -> None:
    with pytest.raises(grpc.RpcError) as told:
        ads_call(mesh, "orders", [request("default/web/one")])
    assert told.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert "may not ask for the resources of default/web/one" in told.value.details()


def test_without_a_certificate_there_is_no_ads(mesh: LocalMesh) -> None:
    told = read_join_token(token_of(mesh, "orders"))
    trust = trusted_place(told.api, told.fingerprint).trust_pem.encode()
    with grpc.secure_channel(f"127.0.0.1:{mesh.ads_port}", grpc.ssl_channel_credentials(trust)) as channel:
        call = channel.stream_stream(
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
        )
        with pytest.raises(grpc.RpcError) as refused:
            list(call(iter([b""]), timeout=5))
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_too_many_subscriptions_are_refused_and_nobody_else_notices(mesh: LocalMesh) -> None:
    names = [f"out/default/s{n}/80" for n in range(30_000)]
    with pytest.raises(grpc.RpcError) as told:
        ads_call(mesh, "orders", [request("default/orders/one", *names, type_url=type_urls.ENDPOINT)])
    assert told.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert mesh.get("/healthz") == {"status": "ok"}


def test_a_client_that_never_answers_holds_nobody_up(mesh: LocalMesh) -> None:
    """It is named by `apply --wait`; everyone else runs the change."""
    other = mesh.run("other")
    key, stop = new_key(), threading.Event()
    registration = {"node": ["default", "mute", "one"], "app_port": 80, "inbound_port": 9, "outbound_port": 8}
    with mesh.client() as client:
        got = enrol(client, key, "mute")
        client.put("/v1/registrations/default/mute/one", registration)
    credentials = grpc.ssl_channel_credentials(
        got["trust_pem"].encode(), key, got["certificate_pem"].encode()
    )

    def ask_once() -> Iterator[bytes]:
        yield request("default/mute/one").SerializeToString()
        stop.wait(30)

    with grpc.secure_channel(got["ads"], credentials) as channel:
        path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
        call = channel.stream_stream(path)(ask_once())
        assert next(call)
        done = mesh.apply("apiVersion: v1\nkind: Service\nmetadata: {name: fresh}\nspec: {}\n", wait_s=3)[
            "rollout"
        ]
        stop.set()
        call.cancel()
    assert not done["done"]
    assert done["waiting"] == ["default/mute/one"]
    assert f"default/other/{other.instance}" in done["live"]


def test_csds_shows_a_service_its_own_nodes(mesh: LocalMesh) -> None:
    mesh.run("shown")
    found = {}
    for service in ("shown", "orders"):
        key = new_key()
        with mesh.client() as client:
            got = enrol(client, key, service)
        credentials = grpc.ssl_channel_credentials(
            got["trust_pem"].encode(), key, got["certificate_pem"].encode()
        )
        with grpc.secure_channel(got["ads"], credentials) as channel:
            ask = channel.unary_unary(
                "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=pb.ClientStatusResponse.FromString,
            )
            found[service] = ask(pb.ClientStatusRequest(), timeout=5).config
    assert len(found["orders"]) == 0
    assert [c.node.cluster for c in found["shown"]] == ["default/shown"]
    resources = {(r.type_url, r.name): r for r in found["shown"][0].generic_xds_configs}
    listener = resources[type_urls.LISTENER, "inbound"]
    assert (listener.client_status, listener.config_status) == (
        pb.ClientResourceStatus.ACKED,
        pb.ConfigStatus.SYNCED,
    )


def test_a_bad_node_name_is_told(mesh: LocalMesh) -> None:
    with pytest.raises(grpc.RpcError) as told:
        ads_call(mesh, "orders", [request("who?")])
    assert "namespace/service/instance" in told.value.details()


# --- the API's manners ---


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", b"", 404),
        ("POST", "/v1/documents", b"{", 400),
        ("POST", "/v1/documents", b'{"files": 7}', 400),
        ("POST", "/v1/documents", b'{"files": [], "color": 1}', 400),
        ("POST", "/v1/tokens", b'{"service": "Not A Name"}', 404),
        ("DELETE", "/v1/documents", b'{"documents": [["Service", "default", "nobody"]]}', 404),
        ("PATCH", "/v1/documents", b"", 405),
        ("POST", "/v1/signals/default/web/one", b'{"edges": [{"codes": {"200": -1}}]}', 400),
    ],
)
def test_bad_requests_are_told_as_json(
    mesh: LocalMesh, method: str, path: str, body: bytes, status: int
) -> None:
    transport = httpx.HTTPTransport(uds=str(mesh.state / "ripstop.sock"))
    with httpx.Client(transport=transport, base_url="http://ripstop") as client:
        answer = client.request(method, path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_a_huge_body_is_refused(mesh: LocalMesh) -> None:
    transport = httpx.HTTPTransport(uds=str(mesh.state / "ripstop.sock"))
    with httpx.Client(transport=transport, base_url="http://ripstop") as client:
        answer = client.post("/v1/documents", content=b" " * (17 * 1024 * 1024))
    assert answer.status_code == 413


def test_the_unix_socket_is_where_it_is_said(mesh: LocalMesh) -> None:
    with ControlClient(Place(socket=mesh.state / "ripstop.sock")) as client:
        assert client.get("/healthz") == {"status": "ok"}
    context = ssl.create_default_context()
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"https://127.0.0.1:{mesh.api_port}/healthz", verify=context)

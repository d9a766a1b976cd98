"""Which document line a part of a resource comes from, as far as the resource itself says it."""

from __future__ import annotations

import re

from ripstop.xds import pb, type_urls
from ripstop.xds.snapshot import Resource

_ROUTE = re.compile(r"^virtual_hosts\[(\d+)\]\.routes\[(\d+)\]")


def source_of(resource: Resource, path: str) -> str:
    """``shop/routes.yaml:14 spec.rules[1].matches[0]`` for a path in a route; empty for what carries no source.

    `path` is one of `_core.check`: ``virtual_hosts[0].routes[2].route.timeout``.
    """
    found = _ROUTE.match(path)
    if resource.type_url != type_urls.ROUTE or found is None:
        return ""
    hosts = pb.from_bytes(pb.RouteConfiguration, resource.body).virtual_hosts
    host, route = (int(index) for index in found.groups())
    if host >= len(hosts) or route >= len(hosts[host].routes):
        return ""
    metadata = hosts[host].routes[route].metadata.filter_metadata
    if "ripstop" not in metadata:
        return ""
    source = metadata["ripstop"].fields["source"].string_value
    return str(source)

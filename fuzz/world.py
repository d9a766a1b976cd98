"""Write `src/world.pb`, the listener of the target `path_match`: `python fuzz/world.py`."""

from __future__ import annotations

from pathlib import Path

from ripstop.xds import pb

MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TYPE = "type.googleapis.com/"
ROUTES = [
    {"match": {"path_separated_prefix": "/admin"}, "direct_response": {"status": 403}},
    {"match": {"path": "/exact"}, "direct_response": {"status": 201}},
    {"match": {"safe_regex": {"regex": "/re/[a-z]+/x"}}, "redirect": {"path_redirect": "/elsewhere"}},
    {
        "match": {"prefix": "/low", "case_sensitive": False, "query_parameters": [{"name": "q", "present_match": True}]},
        "direct_response": {"status": 202},
    },
    {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
]
LISTENER = {
    "name": "world",
    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
    "filter_chains": [
        {
            "filters": [
                {
                    "name": "hcm",
                    "typed_config": {
                        "@type": TYPE + MANAGER,
                        "stat_prefix": "world",
                        "normalize_path": True,
                        "merge_slashes": True,
                        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
                        "route_config": {
                            "name": "world",
                            "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": ROUTES}],
                        },
                        "http_filters": [
                            {
                                "name": "router",
                                "typed_config": {"@type": TYPE + "envoy.extensions.filters.http.router.v3.Router"},
                            }
                        ],
                    },
                }
            ]
        }
    ],
}

if __name__ == "__main__":
    path = Path(__file__).parent / "src" / "world.pb"
    path.write_bytes(pb.to_bytes(pb.from_dict(pb.Listener, LISTENER)))

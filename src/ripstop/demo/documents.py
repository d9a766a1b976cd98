"""The documents of the shop: what the directory holds from the start, and what scenes apply later."""

from __future__ import annotations

import json

_SHOP = """\
# The versions of reviews, for the canary.
apiVersion: v1
kind: Service
metadata: {name: reviews-v1}
spec: {selector: {app: reviews, version: v1}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews-v2}
spec: {selector: {app: reviews, version: v2}, ports: [{port: 80}]}
---
# An instance that dies takes the calls on their way with it, all at once: each of them may be tried again.
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: reviews}
spec:
  targetRefs: [{kind: Service, name: reviews-v1}, {kind: Service, name: reviews-v2}]
  retryBudget: {percent: 20, minConcurrency: 20}
---
# Ratings may fail or be slow: a try takes half a second at most, failing instances are set aside, and when none is
# left the cache answers. The default balancer (PeakEwma) would call a failing one less and less, so that it might never
# fail often enough to be set aside: LeastRequest goes on calling it.
apiVersion: ripstop.dev/v1
kind: TrafficPolicy
metadata: {name: ratings}
spec:
  targetRefs: [{kind: Service, name: ratings}]
  loadBalancer: {algorithm: LeastRequest}
  timeouts: {request: 2s, backendRequest: 500ms}
  retry: {attempts: 2, codes: [500, 503]}
  retryBudget: {percent: 20, minConcurrency: 20}
  outlierDetection: {consecutiveFailures: 5, baseEjection: 3s, maxEjectionPercent: 100}
  fallback: [{service: ratings-cache, on: [noHealthy]}]
"""

_EDGE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: ripstop
  listeners:
    - {name: http, port: PORT, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: edge}]
  rules:
    - matches: [{path: {type: PathPrefix, value: /orders}}]
      backendRefs: [{name: orders, port: 80}]
    - backendRefs: [{name: web, port: 80}]
"""

_CANARY = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
    - matches: [{headers: [{name: x-user, value: USER}]}]
      backendRefs: [{name: reviews-v2, port: 80}]
    - backendRefs:
        - {name: reviews-v1, port: 80, weight: WEIGHT_V1}
        - {name: reviews-v2, port: 80, weight: WEIGHT_V2}
"""

_REFUSAL = """\
apiVersion: ripstop.dev/v1
kind: AuthorizationPolicy
metadata: {name: POLICY}
spec:
  targetRefs: [{kind: Service, name: orders}]
  action: Deny
  rules: [{from: {services: [web]}}]
"""

BETA_USER = "beta"
REFUSAL = "web-may-not-order"
REFUSAL_HEADER = f"default/{REFUSAL}"
"""What `x-ripstop-policy` says: namespace and name of the document."""


def directory(gateway_port: int) -> dict[str, str]:
    """The files that `ripstop up` follows, by name."""
    return {"shop.yaml": _SHOP, "edge.yaml": _EDGE.replace("PORT", str(gateway_port))}


def canary(weight_v1: int, weight_v2: int) -> str:
    """Reviews by weight, and v2 for `x-user: beta`."""
    weighed = _CANARY.replace("WEIGHT_V1", str(weight_v1)).replace("WEIGHT_V2", str(weight_v2))
    return weighed.replace("USER", json.dumps(BETA_USER))


def refusal() -> str:
    """Web may not call orders."""
    return _REFUSAL.replace("POLICY", REFUSAL)

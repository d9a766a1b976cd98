"""The words of documents for the fields of the effective policy: what `get service --effective` shows beside each other."""

from __future__ import annotations

_PARTS = {
    "load_balancer": "loadBalancer",
    "outlier": "outlierDetection",
    "budget": "retryBudget",
    "health_checks": "healthChecks",
    "fallbacks": "fallback",
    "session": "sessionAffinity",
}
_FIELDS = {
    "choice_count": "choices",
    "panic_threshold_percent": "panicThreshold",
    "max_ejection_percent": "maxEjectionPercent",
    "retry_on_timeout": "onTimeout",
    "all_methods": "methods",
    "backoff_base_s": "backoff.base",
    "backoff_max_s": "backoff.max",
    "hash_keys": "hash",
}


def document_path(path: str) -> str:
    """``outlier.base_ejection_s`` -> ``outlierDetection.baseEjection``."""
    part, _, field = path.partition(".")
    part = _PARTS.get(part, part)
    if not field:
        return part
    words = _FIELDS.get(field, _camel(field.removesuffix("_s")))
    return f"{part}.{words}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

"""Fault -> the fault filter's configuration for a route. Faults are put in at the caller's side, after its matching and
before its retries, so that what an operator asks for in percent is what an application sees."""

from __future__ import annotations

from ripstop.compiler.extension import whole_percent
from ripstop.model.policy import Fault
from ripstop.xds import pb


def http_fault(fault: Fault) -> pb.Message:
    """An `HTTPFault` for `typed_per_filter_config`."""
    made = pb.HttpFault(
        headers=[pb.HeaderMatcher(name=name, string_match={"exact": value}) for name, value in fault.headers]
    )
    if fault.delay_s and fault.delay_percent:
        made.delay.fixed_delay.CopyFrom(pb.duration(fault.delay_s))
        made.delay.percentage.CopyFrom(whole_percent(fault.delay_percent))
    if fault.abort_percent and (fault.abort_status or fault.abort_grpc_status is not None):
        made.abort.CopyFrom(_abort(fault))
    return made


def _abort(fault: Fault) -> pb.Message:
    percentage = whole_percent(fault.abort_percent)
    if fault.abort_grpc_status is not None:
        return pb.FaultAbort(grpc_status=fault.abort_grpc_status, percentage=percentage)
    return pb.FaultAbort(http_status=fault.abort_status, percentage=percentage)

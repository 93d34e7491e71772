"""The trace of a request is continued by the ingress, or begun: HAProxy's rules for it. No effects here.

HAProxy chooses the identifier of the ingress's span and hands it on; the span is made of the line that is there when
the request has ended. Who asks may name one parent, as the recommendation of W3C has it; any other is none.
"""

from __future__ import annotations

from typing import NamedTuple

from flyteray._traces.asked import Sampling

PARENT = "traceparent"
_STATE = "tracestate"

_IDS = "(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_RIGHT = f"^(00-{_IDS}|(?!00|ff)[0-9a-f]{{2}}-{_IDS}(-.*)?)$"
_RECORDED = "^.{54}[13579bdf]"  # by the last bit of its flags
_CHANCE = "%[rand(),hex,bytes(8,8),lower]"  # 32 bits
_ALL = 1 << 32  # what the first half of a trace's random part is below


class Trace(NamedTuple):
    """What a line tells of the trace of a request: identifiers of trace and span, and that of its parent, if any."""

    trace: int
    span: int
    parent: int | None

    @classmethod
    def read(cls, text: str) -> Trace | None:
        """What was written by :func:`rules`; None where the trace is not recorded."""
        parts = text.split(".")
        if len(parts) != 3:
            return None
        trace, span, parent = parts
        return cls(int(trace, 16), int(span, 16), None if parent in ("", "-") else int(parent, 16))


def rules(sampling: Sampling | None, logs: bool) -> str:
    """The rules by which the traces of a frontend's requests go on; nothing where no traces are asked for.

    Whether a trace is recorded follows from its identifier as with OpenTelemetry's samplers, so that all who come to
    decide do it alike. Unless it ``logs`` requests, what is to be told is noted for those that are recorded alone.
    """
    if sampling is None:
        return ""
    share = f"{{ var(txn.trace),bytes(16,8),hex2i lt {round(sampling.share * _ALL)} }}"
    decided = f"    http-request set-var(txn.recorded) bool(true) if {share}"
    if sampling.by_parent:
        as_parent = f"has_parent {{ var(req.parent) -m reg {_RECORDED} }}"
        decided = f"    http-request set-var(txn.recorded) bool(true) if {as_parent} || !has_parent {share}"
    named = () if logs else ("path", "method")
    noted = "".join(f"\n    http-request set-var(txn.{name}) {name} if is_recorded" for name in named)
    return f"""
    acl one_parent req.fhdr_cnt({PARENT}) eq 1
    acl right_parent req.fhdr({PARENT}) -m reg '{_RIGHT}'
    http-request set-var(req.parent) req.fhdr({PARENT}) if one_parent right_parent
    acl has_parent var(req.parent) -m found
    http-request set-var(txn.trace) var(req.parent),bytes(3,32) if has_parent
    http-request set-var(txn.parent) var(req.parent),bytes(36,16) if has_parent
    http-request set-var-fmt(txn.trace) {_CHANCE * 4} unless has_parent
    http-request set-var-fmt(txn.span) {_CHANCE * 2}
{decided}
    acl is_recorded var(txn.recorded) -m found
    http-request set-var-fmt(txn.traced) %[var(txn.trace)].%[var(txn.span)].%[var(txn.parent)] if is_recorded
    http-request set-header {PARENT} 00-%[var(txn.trace)]-%[var(txn.span)]-01 if is_recorded
    http-request set-header {PARENT} 00-%[var(txn.trace)]-%[var(txn.span)]-00 unless is_recorded
    http-request del-header {_STATE} unless has_parent{noted}"""

"""What is told of a shadow in a line: what was copied to it, and how its answers were beside the live ones."""

from __future__ import annotations

from flyteray._plan.info import ShadowInfo

_MOST_KINDS = 3  # of answers that differ
_WHY = {
    "many": "many open already",
    "large": "large",
    "kind": "of a kind that can't be",
}


def words(shadow: ShadowInfo) -> str:
    """As in: 10%: 412 copied, 3 answered otherwise (3 with 500 where v1 said 200), median 31 ms beside 24 ms."""
    of = " of GET, HEAD and OPTIONS" if shadow.safe_only else ""
    at = f"{shadow.share:g}%{of}" if shadow.outcome == "running" else f"{shadow.outcome}: {shadow.reason}"
    copied = f"{shadow.copied} copied"
    if shadow.compared != shadow.copied:
        copied += f", {shadow.compared} of them compared"
    told = [copied, _otherwise(shadow)]
    if shadow.shadow.p50_s is not None and shadow.live.p50_s is not None:
        told.append(f"median {shadow.shadow.p50_s * 1000:.0f} ms beside {shadow.live.p50_s * 1000:.0f} ms")
    if count := sum(shadow.left_out.values()):
        reasons = ", ".join(f"{each} {_WHY.get(why, why)}" for why, each in sorted(shadow.left_out.items()))
        told.append(f"{count} not copied ({reasons})")
    return f"{at}: {', '.join(told)}"


def _otherwise(shadow: ShadowInfo) -> str:
    count = sum(shadow.otherwise.values())
    if not count:
        return "0 answered otherwise"
    often = sorted(shadow.otherwise.items(), key=lambda kind: -kind[1])
    kinds = [
        f"{each} with {status} where {shadow.beside or 'the other'} said {live}"
        for both, each in often[:_MOST_KINDS]
        for status, live in [both.split(" ")]
    ]
    more = ", and others" if len(often) > _MOST_KINDS else ""
    return f"{count} answered otherwise ({', '.join(kinds)}{more})"

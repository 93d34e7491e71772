"""A probe tells whether a Ray cluster answers at an address: one remote call instead of Ray's minutes of retries."""

from __future__ import annotations

from flyteray.errors import ClusterError

# Ray's cheapest call. Its path and its empty request have been the same since Ray 2.8.
_CALL = "/ray.rpc.NodeInfoGcsService/GetClusterId"
_NO_TOKEN = (
    "The Ray cluster at {} asks for a token, and there is none here: set RAY_AUTH_MODE=token, and put the cluster's "
    "token into RAY_AUTH_TOKEN or ~/.ray/auth_token, or the path of a file with it into RAY_AUTH_TOKEN_PATH."
)


def probe(address: str, token: str | None, timeout_s: float = 5.0, named: str | None = None) -> None:
    """Make sure that Ray answers at ``address`` (``host:port``) in time and takes ``token``, else raise ClusterError.

    ``named`` is the address as the user wrote it.
    """
    import grpc  # takes 0.1 s, which commands without a cluster need not pay

    where = address if named in (None, address) else f"{address} ({named!r})"
    metadata = [("authorization", f"Bearer {token}")] if token else None
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_CALL)(b"", timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            if token is None and error.code() == grpc.StatusCode.UNAUTHENTICATED:
                raise ClusterError(_NO_TOKEN.format(where)) from None
            raise ClusterError(_explanation(where, error.code(), error.details(), timeout_s)) from None


def submit_there(dashboard: str) -> str:
    """What to do with the address of a dashboard, an ``http://`` URL."""
    return (
        "Programs run on a cluster itself: start yours there with "
        f"`ray job submit --address {dashboard} --working-dir . -- python script.py`, or on a machine of the cluster "
        "give its own address (host:6379)."
    )


def _explanation(address: str, code: object, details: str, timeout_s: float) -> str:
    word = getattr(code, "name", str(code))
    if word == "UNAUTHENTICATED":
        return (
            f"The Ray cluster at {address} refuses our token. Put the cluster's token into RAY_AUTH_TOKEN, or the "
            "path of a file with it into RAY_AUTH_TOKEN_PATH."
        )
    if word == "DEADLINE_EXCEEDED":
        return (
            f"The Ray cluster at {address} did not answer within {timeout_s:g} s. Check the address and that no "
            "firewall is in between."
        )
    if "http1" in details:  # as gRPC calls a server that speaks HTTP/1.1
        return f"What answers at {address} is no Ray cluster, but maybe its dashboard. {submit_there(f'http://{address}')}"
    if word == "UNAVAILABLE":
        return (
            f"No Ray cluster answers at {address}: {details}. Check RAY_ADDRESS or init(address=...): the host, the "
            "port (that of `ray start --head`, 6379 by default), and that the cluster runs."
        )
    return f"What answers at {address} is no Ray cluster ({word}: {details}). Check the host and the port."

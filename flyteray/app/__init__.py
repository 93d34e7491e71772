"""Apps are services that stay up behind an HTTP endpoint; users declare them here."""

from flyteray import _public
from flyteray.app.canary import Canary
from flyteray.app.connector import ConnectorEnvironment
from flyteray.app.context import AppContext, ctx
from flyteray.app.environment import AppEnvironment
from flyteray.app.limits import Limits
from flyteray.app.parameters import Parameter, get_parameter
from flyteray.app.port import Port, grpc_address
from flyteray.app.routing import Domain, Link, Subdomain, Timeouts
from flyteray.app.scaling import Scaling, Signals
from flyteray.app.shadow import Shadow
from flyteray.app.sources import AppEndpoint, RunOutput

__all__ = [
    "AppContext",
    "AppEndpoint",
    "AppEnvironment",
    "Canary",
    "ConnectorEnvironment",
    "Domain",
    "Limits",
    "Link",
    "Parameter",
    "Port",
    "RunOutput",
    "Scaling",
    "Shadow",
    "Signals",
    "Subdomain",
    "Timeouts",
    "ctx",
    "get_parameter",
    "grpc_address",
]

_public.adopt(__name__, globals())

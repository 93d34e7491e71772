"""Which addresses an app has, from what was declared to what the ingress is told."""

from __future__ import annotations

import socket
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from fastapi import FastAPI

from flyteray._control.apps.hosts import links, own_hosts, refuse_taken_hosts, timeout_ms
from flyteray._control.apps.reconcile import ingress_state
from flyteray._control.apps.state import ReplicaRecord
from flyteray._control.apps.status import app_info
from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.ingress import found_at
from flyteray._plan import apps as plans
from flyteray._plan.info import ClusterInfo, ReplicaInfo
from flyteray._plan.spec import AppSpec, LinkSpec
from flyteray.app import AppEnvironment, Domain, Limits, Link, Port, Subdomain, Timeouts
from flyteray.app.extras import FastAPIAppEnvironment, FlyteWebhookAppEnvironment
from tests.unit.builders import CODE, app_record, app_spec, version_record


def planned(**fields: Any) -> AppSpec:
    return plans.app_spec(AppEnvironment(name="shop", args="serve", **fields), CODE)


@pytest.mark.parametrize(
    ("domain", "hosts"),
    [
        (Domain(), ()),
        (None, ()),
        (Domain(subdomain="Web"), ("web.localhost",)),
        (Domain(subdomain="a.b"), ("a.b.localhost",)),
        (Domain(subdomain="shop"), ()),
        (Domain("web", "Models.Example.com"), ("web.localhost", "models.example.com")),
        (Domain(Subdomain.from_function(lambda env, context: f"{env.name}-x")), ("shop-x.localhost",)),
    ],
)
def test_a_domain_gives_an_app_host_names(domain: Domain | None, hosts: tuple[str, ...]) -> None:
    assert own_hosts(planned(domain=domain)) == hosts


def test_a_subdomain_made_of_names_has_project_and_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_INTERNAL_EXECUTION_PROJECT", "ads")
    named = Subdomain.from_app_name("shop", "default")

    spec = planned(domain=Domain(named), env_vars={"FLYTE_INTERNAL_EXECUTION_DOMAIN": "dev"})

    assert spec.subdomain == "shop-ads-dev"


def test_a_subdomain_that_lacks_its_project_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROJECT", "DOMAIN"):
        monkeypatch.delenv(f"FLYTE_INTERNAL_EXECUTION_{name}", raising=False)

    with pytest.raises(
        ValueError, match=r"app 'shop' is made of project .* '' and '': say with_servecontext"
    ):
        planned(domain=Domain(Subdomain.from_app_name("shop", "default")))


@pytest.mark.parametrize("text", ["", "a b", "-a", "a-", "a..b", "a/b", "a:80", "a_b", "é", "a" * 64])
def test_what_can_be_no_host_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="can't be a host name"):
        Domain(subdomain=text)
    with pytest.raises(ValueError, match="can't be a host name"):
        Domain(custom_domain=text)


@pytest.mark.parametrize("text", ["localhost", "127.0.0.1", "10.1"])
def test_a_host_where_apps_are_told_by_the_path_is_nobodys_own(text: str) -> None:
    with pytest.raises(ValueError, match="reached by its path"):
        Domain(custom_domain=text)


@pytest.mark.parametrize("field", ["subdomain", "custom_domain"])
def test_a_host_is_text(field: str) -> None:
    with pytest.raises(TypeError, match=f"{field} must be a str"):
        Domain(**{field: 5})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "host"),
    [
        (app_spec("a", subdomain="x"), app_spec("b", subdomain="x"), "x.localhost"),
        (app_spec("a", subdomain="b"), app_spec("b"), "b.localhost"),
        (app_spec("a"), app_spec("b", subdomain="a"), "a.localhost"),
        (app_spec("a", host="m.example.com"), app_spec("b", host="m.example.com"), "m.example.com"),
        (app_spec("a", host="b.localhost"), app_spec("b"), "b.localhost"),
    ],
)
def test_two_apps_cannot_have_one_address(one: AppSpec, other: AppSpec, host: str) -> None:
    with pytest.raises(ValueError, match=f"'a' can't have the address '{host}': app 'b' has it"):
        refuse_taken_hosts(one, [app_spec("c", subdomain="free"), other])


def test_an_app_may_ask_again_for_what_it_has() -> None:
    refuse_taken_hosts(
        app_spec("a", subdomain="x"), [app_spec("a", subdomain="x"), app_spec("b", subdomain="y")]
    )


def test_how_an_app_is_reached_and_scaled_is_no_part_of_its_version() -> None:
    reached = app_spec(
        "a",
        subdomain="x",
        host="m.example.com",
        request_timeout_s=5,
        links=(LinkSpec(title="t", path="p"),),
        sticky=True,
        replicas=3,
    )

    assert reached.digest() == app_spec("a").digest()
    assert app_spec("a", port=9).digest() != app_spec("a").digest()


@pytest.mark.parametrize(
    ("request_", "expected"),
    [(None, None), (0, None), (2, 2000), (timedelta(milliseconds=1.5), 2), (timedelta(microseconds=1), 1)],
)
def test_a_limit_is_told_in_milliseconds(request_: Any, expected: int | None) -> None:
    assert timeout_ms(planned(timeouts=Timeouts(request=request_))) == expected


def test_relative_links_are_joined_to_the_url() -> None:
    shown = [
        Link("/docs", "Docs", is_relative=True),
        Link("a/b?c", "Deep", is_relative=True),
        Link("https://example.com/x", "Elsewhere"),
    ]

    assert links(planned(links=shown), "http://shop.localhost:80/") == {
        "Docs": "http://shop.localhost:80/docs",
        "Deep": "http://shop.localhost:80/a/b?c",
        "Elsewhere": "https://example.com/x",
    }


def test_the_ingress_is_told_what_the_version_that_serves_asks_for() -> None:
    old = app_spec("a", subdomain="x", request_timeout_s=5, sticky=True)
    new = app_spec("a", subdomain="y")
    versions = [
        version_record(name, spec=each, backend=number)
        for number, (name, each) in enumerate({"v1": old, "v2": new}.items())
    ]

    replica = ReplicaInfo(replica_id="v1-1", actor_name="x", version="v1", host="127.0.0.1", port=4001, pid=1)
    ready = [ReplicaRecord(replica, slot=1)]

    before = ingress_state([app_record("a", "v2", "v1")], versions, ready)
    after = ingress_state([app_record("a", "v2", "v2")], versions, ready)
    stopped = ingress_state([app_record("a", "v2", None, desired="stopped")], versions, ready)

    assert (before.hosts, before.timeouts, before.sticky) == ({"x.localhost": "a"}, {"a": 5000}, {"a"})
    assert (after.hosts, after.timeouts, after.sticky) == ({"y.localhost": "a"}, {}, frozenset())
    assert (stopped.apps, stopped.hosts) == ({"a": None}, {"y.localhost": "a"})


def test_apps_that_require_auth_ask_for_keys_where_these_are_asked_for() -> None:
    specs = {
        "closed": app_spec("closed", reading="read", acting="deploy"),
        "open": app_spec("open", requires_auth=False, forward_key=True, allowed_origins=("*",)),
    }
    versions = [version_record(name, spec=each, backend=None) for name, each in specs.items()]
    apps = [app_record(name, name, name) for name in specs]

    asked = ingress_state(apps, versions, [], {"1" * 64: Grant("ann")}, auth=True)
    not_asked = ingress_state(apps, versions, [], {"1" * 64: Grant("ann")}, auth=False)

    assert (asked.private, not_asked.private) == ({"closed"}, frozenset())
    assert asked.origins == {"open": {"*"}}
    assert (asked.roles, asked.forwards) == ({"closed": ("read", "deploy")}, {"open"})
    assert asked.keys == not_asked.keys == {"1" * 64: Grant("ann")}


def test_who_may_use_an_app_is_no_part_of_its_version() -> None:
    assert planned().requires_auth
    assert planned(requires_auth=False).version_id == planned().version_id
    assert planned(forward_key=True).forward_key
    assert planned(forward_key=True).version_id == planned().version_id
    assert planned(allowed_origins=["https://Page.example"]).allowed_origins == ("https://page.example",)
    assert planned(allowed_origins=["*"]).version_id == planned().version_id
    assert (planned().reading, planned().acting) == ("invoke", "invoke")


def test_a_webhook_has_its_callers_keys_and_asks_for_roles() -> None:
    spec = plans.app_spec(FlyteWebhookAppEnvironment(name="hook"), CODE)

    assert (spec.reading, spec.acting, spec.forward_key) == ("read", "deploy", True)


def test_an_apps_status_has_its_addresses_and_links() -> None:
    shown = app_spec(
        "a", subdomain="x", host="m.example.com", links=(LinkSpec(title="t", path="p", is_relative=True),)
    )
    version = version_record("v1", spec=shown, backend=0)
    cluster = ClusterInfo(
        storage="s",
        ingress_host="127.0.0.1",
        ingress_port=80,
        endpoint_pattern="http://127.0.0.1:80/{app_fqdn}",
    )

    info = app_info(app_record("a", "v1", "v1"), {"v1": version}, [], cluster)

    assert (info.url, info.endpoint) == ("http://x.localhost:80/", "http://127.0.0.1:80/a")
    assert info.hosts == ("x.localhost", "m.example.com")
    assert info.links == {"t": "http://x.localhost:80/p"}


def test_beyond_this_machine_an_app_is_reached_by_its_path() -> None:
    cluster = ClusterInfo(
        storage="s",
        ingress_host="0.0.0.0",
        ingress_port=80,
        endpoint_pattern="http://10.0.0.7:80/{app_fqdn}",
    )

    assert cluster.url("a", "x") == "http://10.0.0.7:80/a/"


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.7", "::1"])
def test_an_address_of_its_own_is_found_as_it_is(host: str) -> None:
    assert found_at(host) == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_address_for_all_is_found_at_one_of_this_machine(host: str) -> None:
    address = ip_address(found_at(host))

    assert not address.is_unspecified
    with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET) as free:
        free.bind((str(address), 0))


def test_a_port_for_http_2_without_tls_says_what_is_spoken_there() -> None:
    assert planned(port=Port(8080, "h2c")).protocol == "h2c"
    assert planned(port=Port(8080, "web")).protocol == "http1"


def test_bodies_without_an_end_have_no_limit() -> None:
    with pytest.raises(
        ValueError, match=r"'shop' .*limits\.body can't be kept.*grpc\.max_receive_message_length"
    ):
        planned(port=Port(8080, "h2c"), limits=Limits(body=1))


def test_what_flyteray_serves_itself_has_no_port_for_http_2_without_tls() -> None:
    env = FastAPIAppEnvironment("shop", app=FastAPI(), port=Port(8080, "h2c"))

    with pytest.raises(ValueError, match=r"'shop' is served by flyteray's own server.*Leave the name out"):
        plans.app_spec(env, CODE)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("https://page.example", TypeError),
        ([1], TypeError),
        (["page.example"], ValueError),
        (["https://page.example/path"], ValueError),
        (["https://*.example"], ValueError),
        (["null\n"], ValueError),
    ],
)
def test_what_is_no_origin_is_refused(given: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"AppEnvironment 'shop': .*allowed_origins"):
        planned(allowed_origins=given)

"""Browsers sign in with a key: a real HAProxy, real clients of HTTP and WebSockets, no Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from flyteray._ingress.entry.grants import Grant, signed
from flyteray._ingress.haproxy.login.rules import COOKIE, SECURE_COOKIE
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from flyteray._plan.credentials import key_digest
from tests.integration.ingress_servers import Replica, replicas

KEY, NARROW, READER, OLD = "flyteray_all", "flyteray_narrow", "flyteray_reader", "flyteray_old"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
GRANTS = signed(
    {
        key_digest(KEY): Grant("ann@example.com"),
        key_digest(NARROW): Grant("bob", apps=frozenset({"other"})),
        key_digest(READER): Grant("rita", "read"),
        key_digest(OLD): Grant("eve", expires=1),
    },
    lambda: b"of the tests",
)


@pytest.fixture(scope="module")
def replica() -> Iterator[Replica]:
    with replicas("one") as [replica]:
        yield replica


@pytest.fixture(scope="module")
def state(replica: Replica) -> IngressState:
    return IngressState(
        dict.fromkeys(("closed", "other", "open", "hook", "wide"), 0) | {"halted": None},
        {0: {1: replica.slot}},
        private=frozenset({"closed", "other", "hook", "wide", "halted"}),
        roles={"hook": ("read", "deploy")},
        forwards=frozenset({"hook"}),
        origins={"other": frozenset({"https://page.example"}), "wide": frozenset({"*"})},
        keys=GRANTS,
    )


@pytest.fixture
def ingress(ingress: Ingress, state: IngressState) -> Ingress:
    ingress.apply(state)
    return ingress


@pytest.fixture
def browser(ingress: Ingress) -> Iterator[httpx.Client]:
    """A client with a jar of cookies, that asks for pages."""
    with httpx.Client(base_url=f"http://127.0.0.1:{ingress.port()}", headers=HTML, timeout=60) as client:
        yield client


def origin(client: httpx.Client) -> dict[str, str]:
    return {"Origin": str(client.base_url).rstrip("/")}


def sign_in(client: httpx.Client, key: str = KEY, back: str = "/closed/x?y=1") -> httpx.Response:
    return client.post("/-/login", params={"next": back}, data={"key": key}, headers=origin(client))


def seen(answer: httpx.Response) -> Mapping[str, str]:
    """The headers that the replica got."""
    assert answer.status_code == 200, answer.text
    found: Mapping[str, str] = answer.json()["headers"]
    return found


@pytest.mark.parametrize(
    ("host", "path", "back"),
    [
        ("", "/closed/a%20b?c=d&e=%2f", "/closed/a%20b?c=d&e=%2f"),
        ("", "/closed", "/closed"),
        ("closed.localhost", "/", "/"),
        ("", "/halted/", "/halted/"),
    ],
)
def test_a_browser_without_a_key_is_led_to_a_page_and_back(
    browser: httpx.Client, replica: Replica, host: str, path: str, back: str
) -> None:
    before = replica.requests
    headers = {"Host": f"{host}:8080"} if host else {}
    led = browser.get(path, headers=headers)
    login = urlsplit(led.headers["location"])

    assert (led.status_code, led.headers["cache-control"]) == (302, "no-store")
    assert (login.scheme, login.netloc, login.path) == ("", "", "/-/login")
    assert parse_qs(login.query) == {"next": [back]}
    page = browser.get(led.headers["location"], headers=headers)
    assert page.status_code == 200
    assert (f"{host}:8080" if host else f"127.0.0.1:{browser.base_url.port}") in page.text
    signed_in = browser.post(led.headers["location"], data={"key": KEY}, headers=headers)
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, back)
    assert replica.requests == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "*/*"},
        {"Accept": "application/json"},
        {"Accept": "text/html, application/json"},
        {**HTML, "Authorization": "Bearer wrong"},
        {**HTML, "Sec-Fetch-Mode": "cors"},
    ],
)
def test_what_is_no_navigation_of_a_browser_keeps_its_401(
    browser: httpx.Client, headers: dict[str, str]
) -> None:
    refused = browser.get("/closed/", headers=headers)

    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


def test_neither_is_what_acts_nor_an_address_that_is_too_long(browser: httpx.Client) -> None:
    assert browser.post("/closed/").status_code == 401
    assert browser.get(f"/closed/?{'x' * 3000}").status_code == 401
    assert browser.get("/closed/", headers={"Sec-Fetch-Mode": "navigate"}).status_code == 302


def test_the_page_does_nothing_but_show_itself_and_send_its_form(browser: httpx.Client) -> None:
    page = browser.get("/-/login", headers={"Host": 'a"><script>alert(1)</script>'}).text
    answer = browser.get("/-/login?next=/closed/")
    policy = answer.headers["content-security-policy"]

    assert "script" not in page + answer.text
    assert "http" not in answer.text
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert (
        "access-control-allow-origin" not in browser.get("/-/login", headers={"Origin": "http://e"}).headers
    )


def test_who_has_signed_in_is_known_and_the_app_does_not_see_how(browser: httpx.Client) -> None:
    cookie = sign_in(browser).headers["set-cookie"]
    browser.cookies.set("theirs", "1")
    headers = seen(browser.get("/closed/"))

    assert KEY not in cookie
    assert cookie.startswith(f"{COOKIE}=")
    assert cookie.partition("; ")[2] == "Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"
    assert headers["x-flyteray-user"] == "ann@example.com"
    assert headers["cookie"] == "theirs=1"
    assert seen(browser.get("/open/"))["cookie"] == "theirs=1"


@pytest.mark.parametrize("separator", ["; ", ";"])
@pytest.mark.parametrize("name", [COOKIE, SECURE_COOKIE])
def test_no_cookie_of_that_name_reaches_an_app_however_it_is_written(
    browser: httpx.Client, name: str, separator: str
) -> None:
    def arrives(*pairs: str) -> str | None:
        return seen(browser.get("/open/", headers={"Cookie": separator.join(pairs)})).get("cookie")

    mine = f"{name}=x.y"
    assert arrives(mine) is None
    assert arrives(mine, "a=1", mine, f" {mine}", "b=2", f"{name} =z") == "a=1; b=2"
    assert arrives("a=1", f"not-{name}=2", f"b={name}=3") == f"a=1; not-{name}=2; b={name}=3"
    lines = [("Cookie", mine), ("Cookie", "c=3"), ("Cookie", f"d=4; {mine}")]
    assert seen(browser.get("/open/", headers=lines))["cookie"] in ("c=3; d=4", "d=4")


def test_an_app_that_is_given_its_callers_keys_is_given_their_cookies(browser: httpx.Client) -> None:
    sign_in(browser)

    assert COOKIE in seen(browser.get("/hook/"))["cookie"]


def test_over_tls_the_cookie_has_a_name_that_no_other_host_can_set(
    state: IngressState, tmp_path: Path
) -> None:
    ingress = Ingress(tmp_path, watched=os.getpid(), trusted_proxies=["127.0.0.1"])
    by_tls = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "apps.example"}
    try:
        ingress.apply(state)
        url = f"http://127.0.0.1:{ingress.port()}"
        answer = httpx.post(
            f"{url}/-/login",
            data={"key": KEY},
            headers={**by_tls, "Origin": "https://apps.example"},
        )
        value = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
        statuses = [
            httpx.get(f"{url}/closed/", headers={**headers, "Cookie": f"{name}={value}"}).status_code
            for headers in (by_tls, {})
            for name in (SECURE_COOKIE, COOKIE)
        ]
    finally:
        ingress.stop()

    assert answer.headers["set-cookie"].startswith(f"{SECURE_COOKIE}=")
    assert answer.headers["set-cookie"].endswith("; Secure")
    assert "Sign" in answer.text
    assert "Domain" not in answer.headers["set-cookie"]
    assert statuses == [200, 401, 401, 200]


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/closed/\r\nSet-Cookie: a=b",
        "/caf\xe9",
        "javascript:alert(1)",
        "closed/",
        "",
    ],
)
def test_it_leads_nowhere_else(browser: httpx.Client, back: str) -> None:
    answer = sign_in(browser, back=back)

    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert "You are signed in as <strong>ann@example.com</strong>" in answer.text
    assert "a=b" not in str(answer.headers)


@pytest.mark.parametrize(
    ("key", "status", "words"),
    [
        ("flyteray_wrong", 401, "This key is not or no longer right."),
        (key_digest(KEY), 401, "This key is not or no longer right."),
        (OLD, 401, "The time of this key is over."),
        ("", 400, "Paste a key first."),
    ],
)
def test_a_key_that_opens_nothing_is_told_in_words(
    browser: httpx.Client, key: str, status: int, words: str
) -> None:
    answer = sign_in(browser, key)

    assert (answer.status_code, words in answer.text) == (status, True)
    assert "set-cookie" not in answer.headers
    assert not key or key not in answer.text
    assert '<input id="key"' in answer.text


def test_spaces_around_a_key_are_no_part_of_it(browser: httpx.Client) -> None:
    assert sign_in(browser, f"  {KEY}\t\n").status_code == 303


@pytest.mark.parametrize("body", [b"", b"key", b"key=%", b"other=1", b"\xff\x00", b"x" * 100_000])
def test_what_is_no_form_signs_nobody_in(browser: httpx.Client, body: bytes) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    assert browser.post("/-/login", content=body, headers=form).status_code in (400, 401)


def test_who_sends_many_wrong_keys_by_the_page_is_told_to_wait_and_right_ones_are_let_in(
    state: IngressState, tmp_path: Path
) -> None:
    ingress = Ingress(tmp_path, watched=os.getpid())
    try:
        ingress.apply(state)
        url = f"http://127.0.0.1:{ingress.port()}"
        wrong = [httpx.post(f"{url}/-/login", data={"key": str(number)}) for number in range(14)]
        header = httpx.get(f"{url}/closed/", headers={"Authorization": "Bearer 1"})
        right = httpx.post(f"{url}/-/login", data={"key": KEY})
    finally:
        ingress.stop()

    assert [answer.status_code for answer in wrong] == [401] * 10 + [429] * 4
    assert wrong[-1].headers["retry-after"] == "10"
    assert "Too many wrong keys came from this address." in wrong[-1].text
    assert (header.status_code, right.status_code) == (429, 200)


def test_roles_and_apps_of_the_key_hold(browser: httpx.Client, ingress: Ingress) -> None:
    sign_in(browser, NARROW)
    barred = browser.get("/closed/")
    allowed = browser.get("/other/").status_code
    at_once = httpx.post(
        browser.base_url.join("/-/login"),
        data={"key": NARROW},
        headers={"Host": f"closed.localhost:{ingress.port()}"},
    )
    sign_in(browser, READER)
    reads, acts = browser.get("/hook/"), browser.post("/hook/", headers=origin(browser))

    assert (barred.status_code, allowed) == (403, 200)
    assert "The key 'bob' is not for app 'closed'" in barred.text
    assert "Sign out at /-/logout to use another key." in barred.text
    assert (at_once.status_code, "This key is for other apps" in at_once.text) == (403, True)
    assert (reads.status_code, acts.status_code) == (200, 403)


FOREIGN = {"Origin": "https://evil.example"}


@pytest.mark.parametrize(
    ("headers", "statuses"),
    [
        ({}, [200, 403]),
        (FOREIGN, [403, 403]),
        ({"Origin": "null"}, [403, 403]),
        ({"Origin": "http://127.0.0.1:1"}, [200, 200]),
        ({"Sec-Fetch-Site": "same-origin"}, [200, 200]),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, [200, 200]),
        ({**FOREIGN, "Sec-Fetch-Site": "cross-site"}, [403, 403]),
    ],
)
def test_the_cookie_counts_for_pages_of_its_own_host(
    browser: httpx.Client, headers: dict[str, str], statuses: list[int]
) -> None:
    sign_in(browser)
    asked = [browser.request(method, "/closed/", headers=headers) for method in ("GET", "POST")]

    assert [answer.status_code for answer in asked] == statuses
    if "evil" in headers.get("Origin", ""):
        assert "this request comes from 'https://evil.example'" in asked[1].text
    bearing = {**headers, "Authorization": f"Bearer {KEY}"}
    assert browser.post("/closed/", headers=bearing).status_code == 200


def test_a_page_of_another_host_signs_nobody_in_or_out(browser: httpx.Client) -> None:
    forged = browser.post("/-/login", data={"key": KEY}, headers=FOREIGN)
    sign_in(browser)
    ended = browser.post("/-/logout", headers=FOREIGN)

    assert (forged.status_code, ended.status_code) == (403, 403)
    assert "A page of another host has sent this form" in forged.text
    assert "set-cookie" not in {**forged.headers, **ended.headers}


def test_signing_out_ends_it(browser: httpx.Client) -> None:
    sign_in(browser)
    asked = browser.get("/-/logout")
    still = browser.get("/closed/").status_code
    out = browser.post("/-/logout", headers=origin(browser))

    assert (asked.status_code, "Sign out" in asked.text, still) == (200, True, 200)
    assert (out.status_code, out.headers["location"]) == (303, "/-/login")
    assert "Max-Age=0" in out.headers["set-cookie"]
    assert browser.get("/closed/").status_code == 302


def test_who_is_signed_in_is_led_on_from_the_page_and_told_so_without_anywhere_to_go(
    browser: httpx.Client,
) -> None:
    sign_in(browser)
    on, there = browser.get("/-/login?next=/closed/"), browser.get("/-/login")

    assert (on.status_code, on.headers["location"]) == (302, "/closed/")
    assert "You are signed in as <strong>ann@example.com</strong>" in there.text


def test_other_methods_are_not_for_the_page(browser: httpx.Client) -> None:
    assert browser.delete("/-/login").status_code == 405
    assert browser.put("/-/logout").headers["allow"] == "GET,HEAD,POST"
    assert browser.head("/-/login").status_code == 200


def test_an_app_with_a_host_of_its_own_that_asks_for_no_key_keeps_these_paths(
    browser: httpx.Client,
) -> None:
    answer = browser.get("/-/login", headers={"Host": "open.localhost"})

    assert answer.json()["path"] == "/-/login"


def forgeries() -> dict[str, Callable[[str, str], str]]:
    return {
        "nothing": lambda digest, sign: "",
        "digest": lambda digest, sign: digest,
        "no sign": lambda digest, sign: f"{digest}.",
        "other sign": lambda digest, sign: f"{digest}.{'0' * 64}",
        "short sign": lambda digest, sign: f"{digest}.{sign[:-1]}",
        "upper case": lambda digest, sign: f"{digest}.{sign.upper()}",
        "of another": lambda digest, sign: f"{key_digest(READER)}.{sign}",
        "key": lambda digest, sign: KEY,
        "no key": lambda digest, sign: f"{key_digest('flyteray_none')}.{sign}",
    }


@pytest.mark.parametrize("forgery", forgeries())
def test_a_cookie_that_was_not_given_opens_nothing(browser: httpx.Client, forgery: str) -> None:
    digest = key_digest(KEY)
    value = forgeries()[forgery](digest, GRANTS[digest].sign)
    cookies = {"Cookie": f"{COOKIE}={value}"}

    assert browser.get("/closed/", headers=cookies).status_code == 302
    assert browser.get("/closed/", headers={**cookies, "Accept": "*/*"}).status_code == 401


def test_a_key_that_nothing_is_signed_with_has_no_cookie(
    browser: httpx.Client, ingress: Ingress, state: IngressState
) -> None:
    ingress.apply(replace(state, keys={key_digest(KEY): Grant("ann")}))
    empty = {"Cookie": f"{COOKIE}={key_digest(KEY)}."}

    assert browser.get("/closed/", headers=empty).status_code == 302
    assert sign_in(browser).status_code == 503


def test_a_header_goes_before_the_cookie_and_one_of_the_apps_own_passes_with_it(
    browser: httpx.Client,
) -> None:
    sign_in(browser)

    def asked(sent: str) -> Mapping[str, str]:
        return seen(browser.get("/hook/", headers={"Authorization": sent}))

    assert asked(f"Bearer {READER}")["x-flyteray-user"] == "rita"
    for own in ("Bearer of-the-app", "Basic eDp5"):
        headers = seen(browser.get("/closed/", headers={"Authorization": own}))
        assert (headers["x-flyteray-user"], headers["authorization"]) == ("ann@example.com", own)


def opened(browser: httpx.Client, path: str = "/closed/ws", **headers: str) -> ClientConnection:
    cookie = f"{COOKIE}={browser.cookies[COOKIE]}"
    url = f"ws://127.0.0.1:{browser.base_url.port}{path}"
    return connect(url, proxy=None, additional_headers={"Cookie": cookie, **headers}, close_timeout=0.1)


def test_the_cookie_opens_websockets_for_pages_of_its_own_host_and_those_that_the_app_names(
    browser: httpx.Client,
) -> None:
    sign_in(browser)

    def status(path: str, page: str) -> int:
        try:
            with opened(browser, path, Origin=page) as websocket:
                websocket.recv()
                return 101
        except InvalidStatus as error:
            return error.response.status_code

    assert status("/closed/ws", "http://127.0.0.1:1") == 101
    assert status("/closed/ws", "https://evil.example") == 403
    assert status("/other/ws", "https://page.example") == 101
    assert status("/wide/ws", "https://evil.example") == 403  # all pages may ask, with a key


def test_what_is_open_ends_with_the_key(browser: httpx.Client, ingress: Ingress, state: IngressState) -> None:
    sign_in(browser)
    page = origin(browser)
    with (
        opened(browser, Origin=page["Origin"]) as websocket,
        browser.stream("GET", "/closed/stream") as stream,
    ):
        websocket.recv()
        began = time.monotonic()
        ingress.apply(replace(state, keys={key_digest(READER): GRANTS[key_digest(READER)]}))
        with pytest.raises(ConnectionClosed):
            websocket.recv(timeout=20)
        with pytest.raises(httpx.RemoteProtocolError):
            stream.read()
        took_s = time.monotonic() - began

    assert took_s < 1
    led = browser.get("/closed/")
    assert led.status_code == 302
    assert "You are not signed in any more: the key has ended." in browser.get(led.headers["location"]).text
    assert browser.post("/closed/", headers=page).status_code == 401


def test_a_cookie_opens_every_ingress_that_was_told_of_the_key_and_is_in_no_log(
    browser: httpx.Client, state: IngressState, tmp_path: Path
) -> None:
    sign_in(browser)
    cookie = {"Cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
    other = Ingress(tmp_path, watched=os.getpid(), access_log=True)
    try:
        other.apply(state)
        status = httpx.get(f"http://127.0.0.1:{other.port()}/closed/", headers=cookie).status_code
    finally:
        other.stop()

    assert status == 200
    logs = [path.read_text(errors="replace") for path in tmp_path.rglob("*.log*") if path.is_file()]
    assert not any(browser.cookies[COOKIE] in log for log in logs)

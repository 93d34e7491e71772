"""Pages with widgets, used in a real browser through the ingress.

Screenshots are kept in the folder that FLYTERAY_TEST_OUTPUT names, else in pytest's own temporary folder. Without
Chromium (`apt-get install chromium`) the tests are skipped, for README's test command has to do with Python and pip.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import altair
import pandas as pd
import plotly.graph_objects
import pytest
import uvicorn

import flyteray as flyte
from flyteray._ingress.entry.grants import Grant, signed
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState, Slot
from flyteray._plan.bundle.code import load_file
from flyteray._plan.credentials import key_digest
from flyteray._serve.servers.ports import listening_socket
from flyteray._settings import Tls
from flyteray.remote import App
from flyteray.report import Report
from tests.certificates import Issuer

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

EXAMPLES = Path(__file__).parents[2] / "examples"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [  # no sandbox, for CI is root; and nothing that asks the internet
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000  # for a page on a busy machine

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go."""
    folder = os.environ.get("FLYTERAY_TEST_OUTPUT")
    if not folder:
        return tmp_path_factory.mktemp("screenshots")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def served(example: str, name: str) -> Iterator[App]:
    app = flyte.serve(getattr(load_file(EXAMPLES / f"{example}.py"), name))
    try:
        yield app
    finally:
        App.delete(app.name)


@pytest.fixture(scope="module")
def iris(cluster: Any) -> Iterator[App]:
    pytest.importorskip("streamlit", reason="streamlit is not installed")
    with served("streamlit_page", "iris") as app:
        yield app


@pytest.fixture(scope="module")
def digits(cluster: Any) -> Iterator[App]:
    pytest.importorskip("gradio", reason="gradio is not installed")
    with served("gradio_demo", "digits_demo") as app:
        yield app


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that has met no failing request once its test has ended."""
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE_MS)
    failed: list[tuple[int, str]] = []
    page.on("response", lambda answer: answer.status >= 400 and failed.append((answer.status, answer.url)))
    yield page
    page.context.close()
    assert [each for each in failed if not each[1].endswith("/favicon.ico")] == []


@pytest.mark.parametrize("route", ["host", "path"])
def test_a_moved_slider_shows_its_result_in_streamlit(
    iris: App, page: Any, pictures: Path, route: str
) -> None:
    page.goto(iris.url if route == "host" else iris.endpoint)

    page.get_by_text("Iris setosa").wait_for()
    slider = page.get_by_role("slider").first
    slider.focus()
    slider.press("End")  # the longest petals
    page.get_by_text("Iris virginica").wait_for()

    page.screenshot(path=pictures / f"streamlit-by-{route}.png")


@pytest.mark.parametrize("route", ["host", "path"])
def test_a_moved_slider_shows_its_result_in_gradio(
    digits: App, page: Any, pictures: Path, route: str
) -> None:
    page.goto(digits.url if route == "host" else digits.endpoint)

    slider = page.get_by_role("slider").first
    slider.wait_for()
    slider.focus()
    slider.press("End")  # the last digit
    said = page.get_by_label("What the model says")
    playwright.expect(said).to_have_value("It reads 8.", timeout=PATIENCE_MS)
    picture = page.locator("img[src*='/gradio_api/file=']").first
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 160

    page.screenshot(path=pictures / f"gradio-by-{route}.png")


def test_a_script_finds_the_modules_that_are_included_with_it(
    page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("streamlit", reason="streamlit is not installed")
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "home"))
    (tmp_path / "ui").mkdir()
    (tmp_path / "ui" / "words.py").write_text("def greeting(name): return f'Hello, {name}.'")
    (tmp_path / "ui" / "page.py").write_text(
        "import streamlit as st, sys, words\nst.write(words.greeting(st.text_input('Name', sys.argv[1])))"
    )
    (tmp_path / "scripted.py").write_text(
        "from flyteray.app.extras import StreamlitAppEnvironment\n"
        "app = StreamlitAppEnvironment(\n"
        "    name='scripted', script='ui/page.py', include=('ui/words.py',), args='-- Ada', port=0\n"
        ")\n"
    )
    app = flyte.with_servecontext(mode="local").serve(load_file(tmp_path / "scripted.py").app)
    try:
        page.goto(app.url)
        page.get_by_text("Hello, Ada.").wait_for()
        page.get_by_label("Name").fill("Grace")
        page.get_by_label("Name").press("Enter")
        page.get_by_text("Hello, Grace.").wait_for()
    finally:
        app.deactivate(wait=True)


SIGNED = """
import streamlit as st
st.write(f"Hello, {st.text_input('Name', 'nobody')}, known as {st.context.headers.get('X-Flyteray-User')}.")
st.write(f"Cookies: {sorted(st.context.cookies)}")
"""


GREETING = """
import gradio as gr
from flyteray.app.extras import GradioAppEnvironment

with gr.Blocks() as demo:
    name = gr.Textbox(label="Name")
    greeting = gr.Textbox(label="Greeting")
    gr.Button("Greet").click(lambda name: f"Hello, {name}.", name, greeting)

app = GradioAppEnvironment(name="greeting", demo=demo, port=0)
"""


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_browser_signs_in_to_a_streamlit_app_uses_it_and_signs_out(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path, scheme: str
) -> None:
    pytest.importorskip("streamlit", reason="streamlit is not installed")
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "home"))
    (tmp_path / "signed.py").write_text(SIGNED)
    (tmp_path / f"signing_{scheme}.py").write_text(
        "from flyteray.app.extras import StreamlitAppEnvironment\n"
        "app = StreamlitAppEnvironment(name='signing', script='signed.py', port=0)\n"
    )
    app = flyte.with_servecontext(mode="local").serve(load_file(tmp_path / f"signing_{scheme}.py").app)
    tls = Tls(*Issuer().issue().put(tmp_path)) if scheme == "https" else None
    ingress = Ingress(tmp_path / "ingress", watched=os.getpid(), tls=tls)
    page = browser.new_context(ignore_https_errors=True).new_page()
    page.set_default_timeout(PATIENCE_MS)
    expect = playwright.expect
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    try:
        slot = Slot("127.0.0.1", urlsplit(app.url).port or 0)
        keys = signed({key_digest("flyteray_right"): Grant("ann")}, lambda: b"of the tests")
        state = IngressState({"signing": 0}, {0: {1: slot}}, private=frozenset({"signing"}), keys=keys)
        ingress.apply(state)
        host = f"signing.localhost:{ingress.tls_port() if tls else ingress.port()}"
        page.goto(f"{scheme}://{host}/?of=mine")

        expect(page.get_by_text(host)).to_be_visible()
        page.screenshot(path=pictures / f"login-{scheme}.png")
        page.get_by_label("Key").fill("flyteray_wrong")
        page.get_by_label("Key").press("Enter")
        expect(page.get_by_role("alert")).to_have_text("This key is not or no longer right.")
        page.screenshot(path=pictures / f"login-wrong-{scheme}.png")
        assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {host}
        page.get_by_label("Key").fill("flyteray_right")
        page.get_by_role("button", name="Sign in").click()

        page.get_by_text("Hello, nobody, known as ann.").wait_for()
        assert page.url == f"{scheme}://{host}/?of=mine"
        page.get_by_label("Name").fill("Ada")
        page.get_by_label("Name").press("Enter")
        page.get_by_text("Hello, Ada, known as ann.").wait_for()
        expect(page.get_by_text("flyteray-login")).to_have_count(0)
        assert "flyteray" not in page.evaluate("document.cookie")
        page.screenshot(path=pictures / f"login-streamlit-{scheme}.png")

        page.goto(f"{scheme}://{host}/-/logout")
        page.screenshot(path=pictures / f"logout-{scheme}.png")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Key").wait_for()
        page.goto(f"{scheme}://{host}/")
        page.get_by_label("Key").fill("flyteray_right")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("Hello, nobody, known as ann.").wait_for()
        ingress.apply(replace(state, keys={}))
        page.reload()
        expect(page.get_by_role("alert")).to_have_text("You are not signed in any more: the key has ended.")
    finally:
        page.context.close()
        ingress.stop()
        app.deactivate(wait=True)


def test_a_browser_that_has_signed_in_uses_gradio(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed")
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "home"))
    (tmp_path / "greeting.py").write_text(GREETING)
    app = flyte.with_servecontext(mode="local").serve(load_file(tmp_path / "greeting.py").app)
    ingress = Ingress(tmp_path / "ingress", watched=os.getpid())
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE_MS)
    try:
        slot = Slot("127.0.0.1", urlsplit(app.url).port or 0)
        keys = signed({key_digest("flyteray_right"): Grant("ann")}, lambda: b"of the tests")
        ingress.apply(
            IngressState({"greeting": 0}, {0: {1: slot}}, private=frozenset({"greeting"}), keys=keys)
        )
        page.goto(f"http://greeting.localhost:{ingress.port()}/")
        page.get_by_label("Key").fill("flyteray_right")
        page.get_by_label("Key").press("Enter")

        page.get_by_label("Name").fill("Ada")
        page.get_by_role("button", name="Greet").click()
        greeting = page.get_by_label("Greeting")
        playwright.expect(greeting).to_have_value("Hello, Ada.", timeout=PATIENCE_MS)
    finally:
        page.context.close()
        ingress.stop()
        app.deactivate(wait=True)


BRIGHTNESS = """
(element) => getComputedStyle(element).backgroundColor.match(/[0-9]+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 765
"""


@pytest.fixture(scope="module")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a report with a tab of each kind."""
    report = Report("mail.sort")
    report.get_tab("main").log("<p>Plain words.</p>")
    report.get_tab("plotly").log(
        plotly.graph_objects.Figure(plotly.graph_objects.Bar(x=["a", "b"], y=[2, 1]))
    )
    chart = altair.Chart(pd.DataFrame({"x": [1, 2], "y": [2, 1]})).mark_line().encode(x="x", y="y")
    report.get_tab("altair").log(chart)
    report.get_tab("two words").log("<div style='background: #eef6ff'>Coloured words.</div>")
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(report.get_final_report())
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_read_tab_by_tab_in_light_and_dark_without_a_network(
    browser: Any, report_page: Path, pictures: Path, scheme: str
) -> None:
    page = browser.new_context(color_scheme=scheme).new_page()
    page.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    expect = playwright.expect
    try:
        page.goto(report_page.as_uri())
        plain, coloured = page.get_by_text("Plain words."), page.get_by_text("Coloured words.")
        expect(page.get_by_role("tab")).to_have_text(["main", "plotly", "altair", "two words"])
        expect(plain).to_be_visible()
        expect(coloured).not_to_be_visible()
        page.screenshot(path=pictures / f"report-{scheme}-main.png")

        page.get_by_role("tab", name="plotly").click()
        expect(plain).not_to_be_visible()
        drawn = page.locator(".main-svg").first
        expect(drawn).to_be_visible()
        assert (
            drawn.bounding_box()["width"] > 1000
        )  # as wide as the page, though it was behind when it was drawn
        page.screenshot(path=pictures / f"report-{scheme}-plotly.png")
        page.keyboard.press("ArrowRight")
        expect(page.locator("canvas.marks, svg.marks")).to_be_visible()
        page.screenshot(path=pictures / f"report-{scheme}-altair.png")
        page.keyboard.press("ArrowRight")
        expect(coloured).to_be_visible()
        page.screenshot(path=pictures / f"report-{scheme}-coloured.png")

        page.reload()
        expect(coloured).to_be_visible()
        assert page.get_by_role("tabpanel").evaluate(BRIGHTNESS) > 0.9  # it was made for a white page
        assert (page.locator("body").evaluate(BRIGHTNESS) > 0.5) is (scheme == "light")
        assert set(asked) <= {"file", "data", "blob"}
        assert wrong == []
    finally:
        page.context.close()


ASKS = """
async ([url, key, method]) => {
  const headers = {"Authorization": `Bearer ${key}`, "Content-Type": "application/json", "Accept": "application/json"};
  const answer = await fetch(url, {method, headers, body: method === "GET" ? undefined : "{}"});
  return [answer.status, await answer.json()];
}
"""


async def answers_pages(scope: Any, receive: Any, send: Any) -> None:
    """Lets pages of every origin ask, and says who asks."""
    headers = dict(scope["headers"])
    allow = [
        (b"access-control-allow-origin", headers.get(b"origin", b"*")),
        (b"access-control-allow-methods", b"PUT"),
        (b"access-control-allow-headers", b"authorization,content-type"),
    ]
    body = b'{"user": "%s"}' % headers.get(b"x-flyteray-user", b"") if scope["method"] != "OPTIONS" else b""
    await send({"type": "http.response.start", "status": 200, "headers": allow})
    await send({"type": "http.response.body", "body": body})


def test_a_page_of_another_origin_asks_with_a_key_and_reads_why_it_is_refused(
    browser: Any, tmp_path: Path
) -> None:
    sock = listening_socket("127.0.0.1")
    app = uvicorn.Server(uvicorn.Config(answers_pages, log_config=None, lifespan="off", interface="asgi3"))
    threading.Thread(target=lambda: asyncio.run(app.serve(sockets=[sock])), daemon=True).start()
    slot = Slot(*sock.getsockname())
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    ingress = Ingress(tmp_path / "ingress", watched=os.getpid())
    page = browser.new_context().new_page()
    try:
        apps = {"closed": 0, "halted": None}
        keys = {key_digest("right"): Grant("ann")}
        ingress.apply(IngressState(apps, {0: {1: slot}}, private=frozenset({"closed"}), keys=keys))
        page.goto(f"http://127.0.0.1:{site.server_port}/")

        def asked(path: str, key: str, method: str = "PUT") -> Any:
            return page.evaluate(ASKS, [f"http://127.0.0.1:{ingress.port()}{path}", key, method])

        assert asked("/closed/", "right") == [200, {"user": "ann"}]
        status, said = asked("/closed/", "wrong")
        assert (status, "not or no longer right" in said["error"]) == (401, True)
        assert asked("/nope/", "right")[0] == 404
        assert asked("/halted/", "right", "GET")[0] == 503
    finally:
        page.context.close()
        ingress.stop()
        site.shutdown()
        site.server_close()
        app.should_exit = True

"""The pages by which browsers sign in and out are plain HTML, and need nothing from anywhere. No effects here.

They are formats of HAProxy's, which puts in what it knows of a request: nothing that a browser could read as HTML.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from string import Template

LOGOUT = "/-/logout"
FORM, OUT, DONE = "login.html", "logout.html", "signed-in.html"  # files that HAProxy answers with

_SENDS_KEY = """\
<form method="post">
<label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="current-password" spellcheck="false" required autofocus>
<button>Sign in</button>
</form>
<p class="hint"><code>flyteray create key NAME</code> makes a key. This browser keeps a cookie that is made of it, not
the key, for 30 days and no longer than the key lasts.</p>"""
_LEAVES = """\
<form method="post">
<button>Sign out</button>
</form>
<p class="hint">This browser forgets its cookie. <code>flyteray delete key NAME</code> ends what a key opens for all who
have it.</p>"""
_WELCOME = f"""\
<p>You are signed in as <strong>%[var(txn.user)]</strong>. Go back to the app and load its page again.</p>
<p class="hint"><a href="{LOGOUT}">Sign out</a></p>"""


def pages() -> dict[str, str]:
    """The pages as HAProxy reads them, by file name."""
    return {
        FORM: _page("Sign in", _SENDS_KEY),
        OUT: _page("Sign out", _LEAVES),
        DONE: _page("Signed in", _WELCOME),
    }


def guards() -> str:
    """The headers by which a browser lets a page do nothing but show itself and send its form here."""
    style = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return (
        f'hdr Content-Security-Policy "{policy}" hdr X-Content-Type-Options nosniff hdr X-Frame-Options DENY '
        "hdr Referrer-Policy same-origin"
    )


def _page(title: str, content: str) -> str:
    """A page as a format of HAProxy's, with its variables."""
    style = _style().replace("%", "%%")
    return Template(_resource("page.html")).substitute(title=title, style=style, content=content)


def _style() -> str:
    return _resource("page.css")


@cache
def _resource(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")

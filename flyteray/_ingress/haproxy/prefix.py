"""A prefix, the path that an app is reached by, is put before what it says of its own addresses. No effects here.

An app that knows its path (``root_path``, ``SCRIPT_NAME``) says it already; one that does not means its root.
"""

from __future__ import annotations

_AFTER = "([/?#]|$)"
_PATH = "/(?!/)"  # two slashes are another host


def rules(apps: str) -> str:
    """The rules for answers of an app that is reached by path: ``txn.prefix``. The map ``apps`` names all apps.

    They are the last ones for answers: most of these end there.
    """
    lines = [
        "    # few answers have a header that says an address: one look tells",
        "    acl below var(txn.prefix) -m found",
        "    acl leads res.hdr_names -m sub location refresh set-cookie",
        "    http-response allow unless below leads",
        *_header("Location", "", f"res.fhdr(location),field(4,/),field(1,?),map_str({apps})"),
        *_header("Content-Location", "", f"res.fhdr(content-location),field(4,/),field(1,?),map_str({apps})"),
        *_header("Refresh", r"\s*[0-9.]+\s*[;,]\s*(?:[uU][rR][lL]\s*=\s*)?[\x22\x27]?", None),
        # a browser takes a cookie of this name for the root only
        "    http-response replace-header Set-Cookie "
        r"'^(?!__[Hh]ost-)([^;]*;(?:.*;)?\s*[Pp][Aa][Tt][Hh]\s*=\s*\x22?)(/.*)$' '\1%[var(txn.prefix)]\2'",
        "    http-response replace-header Set-Cookie "
        r"'^([^;]*;(?:.*;)?\s*[Pp][Aa][Tt][Hh]\s*=\s*\x22?)(/[^/;\x22]+)(?:\2(?=[/;\x22\s]|$)|/(?=[;\x22\s]|$))(.*)$' "
        r"'\1\2\3'",
    ]
    return "\n".join(lines)


def _header(name: str, lead: str, other_app: str | None) -> list[str]:
    """The rules for a header with an address, which ``lead`` is in front of."""
    variable = name.lower().replace("-", "_")
    to = f"var(txn.{variable})"
    # The host that was asked, the prefix, then the header. HAProxy leaves groups without a name out of account.
    ours = r"^(?<host>\S+) (?<prefix>\S+) "
    lines = [
        f"    acl has_{variable} res.fhdr({name}) -m found",
        f'    http-response set-var-fmt(txn.{variable}) "%[var(txn.address)] %[var(txn.prefix)] %[res.fhdr({name})]" '
        f"if has_{variable}",
        f"    acl {variable}_done {to} -m reg '{ours}{lead}((https?:)?//\\k<host>)?\\k<prefix>{_AFTER}'",
        f"    acl {variable}_here {to} -m reg '{ours}{lead}(https?:)?//\\k<host>{_AFTER}'",
        f"    http-response replace-header {name} '^({lead})({_PATH}.*)$' '\\1%[var(txn.prefix)]\\2' "
        f"if has_{variable} !{variable}_done",
    ]
    elsewhere = ""
    if other_app is not None:  # the addresses of other apps are known as a whole
        lines.append(f"    acl {variable}_other {other_app} -m found")
        elsewhere = f" !{variable}_other"
    lines.append(
        f"    http-response replace-header {name} '^({lead}(?:https?:)?//[^/?#]+)(.*)$' '\\1%[var(txn.prefix)]\\2' "
        f"if {variable}_here !{variable}_done{elsewhere}"
    )
    return lines

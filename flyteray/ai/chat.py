"""The chat page of Flyte is absent; a page of Streamlit or Gradio is an app."""

from __future__ import annotations

from typing import Any

from flyteray._public import absent

_PAGE = (
    "make the page with flyteray.app.extras.StreamlitAppEnvironment or GradioAppEnvironment, and call "
    "the agent from there."
)

_INSTEAD = {
    **dict.fromkeys(
        (
            "AgentChatAppEnvironment",
            "CHAT_HTML_TEMPLATE",
            "CUSTOM_THEME_CSS_TEMPLATE",
            "CustomTheme",
            "DEFAULT_CSS",
            "build_chat_html",
        ),
        _PAGE,
    ),
}


def __getattr__(name: str) -> Any:
    return absent(__name__, name, _INSTEAD)

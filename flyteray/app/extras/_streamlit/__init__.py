"""The process that Streamlit runs in: ``python -m flyteray.app.extras._streamlit PAGE [OPTION ...] [-- ARGUMENT ...]``.

``PAGE`` is a script, or ``module:function``. Streamlit puts this folder in front of the import path, so its files have
names that no user's module has.
"""

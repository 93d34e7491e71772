"""Serve a Streamlit page: a function is enough.

    pip install '.[examples,ui]' && python examples/streamlit_page.py

Streamlit calls the function whenever somebody moves a widget. Everything around it, imports and caches too, is loaded
once per replica, and a browser stays on its replica. A page that is a file of its own works as well:
`StreamlitAppEnvironment(name="iris", script="page.py")`.
"""

from __future__ import annotations

import functools

from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier

import flyteray as flyte
from flyteray.app.extras import StreamlitAppEnvironment


@functools.cache
def model() -> tuple[KNeighborsClassifier, list[str]]:
    """150 iris flowers: the species by length and width of the petals, and the names of the three species."""
    flowers = load_iris()
    return KNeighborsClassifier(5).fit(flowers.data[:, 2:], flowers.target), list(flowers.target_names)


def page() -> None:
    import streamlit as st

    classifier, species = model()
    st.title("Which iris is it?")
    length = st.slider("Petal length (cm)", 1.0, 6.9, 1.4)
    width = st.slider("Petal width (cm)", 0.1, 2.5, 1.5)
    st.subheader(f"Iris {species[classifier.predict([[length, width]])[0]]}")


iris = StreamlitAppEnvironment(name="iris", script=page)


def main() -> None:
    print(flyte.serve(iris).url)


if __name__ == "__main__":
    main()

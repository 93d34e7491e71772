from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from flyteray._serve.servers.forwarded import ForwardedHeaders
from flyteray.app import Link, Parameter, RunOutput
from flyteray.app.extras import (
    ASGIAppEnvironment,
    FastAPIAppEnvironment,
    GradioAppEnvironment,
    SGLangAppEnvironment,
    StreamlitAppEnvironment,
    VLLMAppEnvironment,
)
from flyteray.io import Dir


def test_any_asgi_application_is_served_in_process() -> None:
    api = Starlette()
    app = ASGIAppEnvironment(name="api", app=api)

    assert (app.kind, app.type, app.asgi_app()) == ("asgi", "ASGI", api)


def test_what_cannot_be_called_is_no_application() -> None:
    with pytest.raises(TypeError, match="'api': app must be an ASGI application, got 3"):
        ASGIAppEnvironment(name="api", app=3)


@pytest.mark.parametrize("words", [{"command": "serve"}, {"args": ["serve"]}], ids=str)
def test_a_command_beside_an_application_would_never_run(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="would never run"):
        ASGIAppEnvironment(name="api", app=Starlette(), **words)


def test_a_fastapi_app_links_to_its_documentation_first() -> None:
    mine = Link("https://example.com", "Mine")
    app = FastAPIAppEnvironment(name="api", app=FastAPI(), links=[mine])
    docs = Link("/docs", "FastAPI OpenAPI Docs", is_relative=True)

    assert app.links == app.clone_with("twin").links == [docs, mine]
    assert FastAPIAppEnvironment(name="api", app=FastAPI(docs_url=None)).links == []
    assert FastAPIAppEnvironment(name="api", app=FastAPI(docs_url="/d")).links[0].path == "/d"


def demo() -> Any:
    gradio = pytest.importorskip("gradio")
    with gradio.Blocks() as blocks:
        gradio.Markdown("hello")
    return blocks


def test_a_gradio_demo_is_blocks_or_a_function_that_makes_them() -> None:
    blocks = demo()

    for given in (blocks, demo):
        app = GradioAppEnvironment(name="demo", demo=given)
        assert (app.kind, app.type) == ("asgi", "Gradio")
        assert callable(app.asgi_app())
    with pytest.raises(TypeError, match=r"demo must be a gradio\.Blocks or a function"):
        GradioAppEnvironment(name="demo", demo=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"must return a gradio\.Blocks, got None"):
        GradioAppEnvironment(name="demo", demo=lambda: None).asgi_app()


def test_gradio_gets_options_but_not_those_that_flyteray_decides() -> None:
    with pytest.raises(ValueError, match="flyteray decides on path, root_path"):
        GradioAppEnvironment(name="demo", demo=demo, options={"root_path": "/", "path": "/x", "title": "t"})


def test_gradio_sends_no_statistics_unless_told_to() -> None:
    variable = "GRADIO_ANALYTICS_ENABLED"

    assert GradioAppEnvironment(name="demo", demo=demo).env_vars == {variable: "False"}
    assert GradioAppEnvironment(name="demo", demo=demo, env_vars={variable: "True"}).env_vars == {
        variable: "True"
    }


def test_a_replica_without_gradio_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)

    with pytest.raises(ModuleNotFoundError, match="pip install gradio"):
        GradioAppEnvironment(name="demo", demo=demo).asgi_app()


def test_gradio_is_right_behind_a_host_and_a_path() -> None:
    pytest.importorskip("gradio")
    application = ForwardedHeaders(GradioAppEnvironment(name="demo", demo=demo).asgi_app())

    async def root(**headers: str) -> str:
        transport = httpx.ASGITransport(application)  # type: ignore[arg-type] # ASGI's scope as a plain dict
        async with httpx.AsyncClient(transport=transport, base_url="http://10.0.0.1:31000") as client:
            answer = await client.get("/config", headers={"x-forwarded-proto": "https", **headers})
            return str(answer.json()["root"])

    assert asyncio.run(root(**{"x-forwarded-host": "demo.localhost:80"})).startswith("https://demo.localhost")
    assert (
        asyncio.run(root(**{"x-forwarded-host": "127.0.0.1:9", "x-forwarded-prefix": "/demo"}))
        == "https://127.0.0.1:9/demo"
    )


def page() -> None: ...


def test_streamlit_runs_a_script_that_is_shipped_beside_its_module() -> None:
    app = StreamlitAppEnvironment(name="ui", script="ui/page.py", include=("ui/pages",), port=8501)

    assert (app.kind, app.type) == ("command", "Streamlit")
    assert app.include == app.clone_with("twin").include == ("ui/page.py", "ui/pages")
    words = app.words()
    assert words[:4] == ["python", "-m", "flyteray.app.extras._streamlit", "tests/unit/app/extras/ui/page.py"]
    assert {"--server.headless=true", "--server.port=$PORT"} <= set(words)


def test_streamlit_runs_the_script_that_is_shipped_also_where_it_is_named_in_full() -> None:
    app = StreamlitAppEnvironment(name="ui", script=str(Path(__file__).with_name("ui") / "page.py"))

    assert (app.script, app.include) == ("ui/page.py", ("ui/page.py",))
    assert app.clone_with("twin").words()[3] == "tests/unit/app/extras/ui/page.py"


def test_streamlit_finds_its_script_along_the_import_path(tmp_path: Path) -> None:
    (tmp_path / "streamlit/web").mkdir(parents=True)
    for package in ("streamlit", "streamlit/web"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "streamlit/web/cli.py").write_text("import sys\ndef main(): print(*sys.argv)\n")
    (tmp_path / "src/ui").mkdir(parents=True)
    (tmp_path / "src/ui/page.py").touch()
    paths = os.pathsep.join([str(tmp_path), str(tmp_path / "src"), *sys.path])

    done = subprocess.run(
        [sys.executable, "-m", "flyteray.app.extras._streamlit", "ui/page.py", "--server.port=1"],
        env=os.environ | {"PYTHONPATH": paths},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["streamlit", "run", str(tmp_path / "src/ui/page.py"), "--server.port=1"]


def test_streamlit_runs_a_function_by_its_name_with_more_options() -> None:
    app = StreamlitAppEnvironment(name="ui", script=page, args="--theme.base=dark -- one")

    assert app.words()[3] == f"{__name__}:page"
    assert app.words()[-3:] == ["--theme.base=dark", "--", "one"]
    assert app.include == ()


def test_streamlit_refuses_what_it_cannot_run() -> None:
    with pytest.raises(ValueError, match="makes its own command"):
        StreamlitAppEnvironment(name="ui", command="streamlit run app.py")
    with pytest.raises(TypeError, match="path of a file or a function, got 3"):
        StreamlitAppEnvironment(name="ui", script=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"<lambda>' by its name: define it at the top level"):
        StreamlitAppEnvironment(name="ui", script=lambda: None).words()


@pytest.mark.parametrize("page", ["page.py", "module:page"])
def test_a_replica_without_streamlit_says_how_to_get_it(page: str) -> None:
    script = "import runpy, sys; sys.modules['streamlit'] = None; runpy.run_module(sys.argv.pop(1), None, '__main__')"
    done = subprocess.run(
        [sys.executable, "-c", script, "flyteray.app.extras._streamlit", page],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "pip install streamlit" in done.stderr


MODELS = [VLLMAppEnvironment, SGLangAppEnvironment]


def test_vllm_serves_weights_that_a_task_made() -> None:
    output = RunOutput(type="directory", task_name="train.finetune")
    app = VLLMAppEnvironment(
        name="llm", model_path=output, model_id="mine", extra_args="--max-model-len 8192"
    )

    assert (app.kind, app.type) == ("command", "vLLM")
    assert app.words() == [
        *("vllm", "serve", "$FLYTE_MODEL_LOADER_LOCAL_MODEL_PATH", "--served-model-name", "mine"),
        *("--host", "$HOST", "--port", "$PORT", "--max-model-len", "8192"),
    ]
    assert app.parameters == [
        Parameter("model_path", value=output, type="directory", env_var="FLYTE_MODEL_LOADER_LOCAL_MODEL_PATH")
    ]
    assert app.links == [Link("/docs", "vLLM OpenAPI Docs", is_relative=True)]


def test_sglang_serves_a_model_of_the_hub() -> None:
    app = SGLangAppEnvironment(name="llm", model_hf_path="Qwen/Qwen3-0.6B", model_id="qwen", port=8001)

    assert app.words() == [
        *("python", "-m", "sglang.launch_server", "--model-path", "Qwen/Qwen3-0.6B"),
        *("--served-model-name", "qwen", "--host", "$HOST", "--port", "$PORT", "--enable-metrics"),
    ]
    assert app.parameters == []
    routed = app.clone_with("routed", router=True, extra_args=["--dp-size", "4", "--enable-metrics"])
    assert routed.words()[2] == "sglang_router.launch_server"
    assert routed.words()[-3:] == ["--dp-size", "4", "--enable-metrics"]
    assert routed.words().count("--enable-metrics") == 1


def test_a_draft_model_is_fetched_as_the_model_is() -> None:
    vllm = VLLMAppEnvironment(
        name="llm",
        model_path="s3://weights/big",
        draft_model_path=Dir(path="s3://weights/small"),
        model_id="mine",
        speculative_config={"method": "eagle3"},
    )
    sglang = SGLangAppEnvironment(
        name="llm",
        model_path="s3://weights/big",
        draft_model_hf_path="org/small",
        model_id="mine",
        speculative_config={"speculative_algorithm": "EAGLE3", "num_draft_tokens": 16, "x": True, "y": False},
    )

    assert [each.value.path for each in vllm.parameters if isinstance(each.value, Dir)] == [
        "s3://weights/big",
        "s3://weights/small",
    ]
    assert json.loads(vllm.words()[-1]) == {
        "method": "eagle3",
        "model": "$FLYTE_MODEL_LOADER_LOCAL_DRAFT_MODEL_PATH",
    }
    assert sglang.words()[-7:] == [
        *("--speculative-algorithm", "EAGLE3", "--speculative-num-draft-tokens", "16", "--speculative-x"),
        *("--speculative-draft-model-path", "org/small"),
    ]
    assert len(vllm.clone_with("twin").parameters) == 2
    assert (
        vllm.clone_with("twin", speculative_config={"method": "ngram"}).words()[-2] == "--speculative-config"
    )


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model_id": ""}, "needs model_id"),
        ({"model_hf_path": ""}, "model_path or model_hf_path, one of them"),
        ({"model_path": "s3://x"}, "model_path or model_hf_path, one of them"),
        ({"args": "--x"}, "args cannot be set for .* extra_args"),
        ({"command": "serve"}, "command cannot be set"),
        ({"parameters": [Parameter("p", "v")]}, "parameters cannot be set"),
        ({"draft_model_hf_path": "org/small"}, "speculative_config how"),
        (
            {"draft_model_hf_path": "a", "draft_model_path": "b", "speculative_config": {}},
            "draft_model_path or draft_model_hf_path, not both",
        ),
        (
            {"draft_model_hf_path": "a", "speculative_config": {"model": "b", "draft_model_path": "b"}},
            "speculative_config can't say",
        ),
        (
            {"model_hf_path": "", "model_path": RunOutput(type="string", task_name="t.f")},
            r'RunOutput\(type="directory"\)',
        ),
        (
            {
                "model_hf_path": "",
                "model_path": RunOutput(type="directory", task_name="t.f", follow=True),
            },
            "can't follow newer runs",
        ),
        ({"extra_args": "--served-model-name other"}, "extra_args can't say --served-model-name"),
        ({"extra_args": ["--port=1"]}, "extra_args can't say --port: the environment does"),
        ({"extra_args": "--served_model_name=other"}, "extra_args can't say --served-model-name"),
        ({"extra_args": "--model other"}, "extra_args can't say --model"),
    ],
    ids=str,
)
def test_what_a_model_server_cannot_do_is_refused(kind: Any, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{"name": "llm", "model_hf_path": "org/big", "model_id": "big", **wrong})


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("hook", ["server", "on_startup", "on_shutdown", "on_update"])
def test_a_model_server_has_no_hooks(kind: Any, hook: str) -> None:
    app = kind(name="llm", model_hf_path="org/big", model_id="big")

    with pytest.raises(ValueError, match=f"{hook} cannot be set"):
        getattr(app, hook)(print)


@pytest.mark.parametrize("kind", MODELS)
def test_model_fields_of_a_wrong_type_are_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="model_id must be a str"):
        kind(name="llm", model_hf_path="org/big", model_id=3)
    with pytest.raises(TypeError, match="model_path must be a str, a Dir or a RunOutput"):
        kind(name="llm", model_path=3, model_id="big")
    for extra in (3, ["--x", 3], {"x": 1}):
        with pytest.raises(TypeError, match="extra_args must be a str or a list of str"):
            kind(name="llm", model_hf_path="org/big", model_id="big", extra_args=extra)
    with pytest.raises(TypeError, match="speculative_config must be a dict, got 'eagle'"):
        kind(name="llm", model_hf_path="org/big", model_id="big", speculative_config="eagle")


def test_how_to_decode_is_said_once() -> None:
    words = "--speculative-config {}"
    model = {"model_hf_path": "org/big", "model_id": "big"}

    assert VLLMAppEnvironment(name="llm", extra_args=words, **model).words()[-1] == "{}"  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="extra_args can't say --speculative-config"):
        VLLMAppEnvironment(name="llm", extra_args=words, speculative_config={}, **model)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", MODELS)
def test_streaming_weights_says_that_it_means_nothing(kind: Any) -> None:
    with pytest.warns(UserWarning, match="stream_model has no meaning on Ray"):
        kind(name="llm", model_hf_path="org/big", model_id="big", stream_model=True)
    kind(name="llm", model_hf_path="org/big", model_id="big", stream_model=False)

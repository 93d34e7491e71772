"""The first lines of a program: `init` and its relatives, and what they leave behind."""

from __future__ import annotations

import base64
import inspect
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flyteray
from flyteray import errors
from flyteray._client.session.session import session
from flyteray._declare.context import TaskContext, task_context
from flyteray._declare.facts import ActionID
from flyteray._plan.bundle import bundle
from flyteray._plan.images.image import REFERENCES, references

NAMES = ("_U_ORG_NAME", "FLYTE_INTERNAL_EXECUTION_PROJECT", "FLYTE_INTERNAL_EXECUTION_DOMAIN", REFERENCES)
NAMED_BY = ("UCTL_CONFIG", "FLYTECTL_CONFIG", "FLYTE_API_KEY", "LOG_LEVEL", "USER_LOG_LEVEL", "LOG_FORMAT")

FILE = """
admin:
  endpoint: dns:///flyte.example.com
  insecure: true
task:
  org: acme
  project: ads
  domain: staging
image:
  image_refs:
    default: registry/base:1
    gpu: registry/gpu:2
"""


@pytest.fixture(autouse=True)
def nothing_said(own_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, a home and an environment in which nothing is configured."""
    for name in (*NAMES, *NAMED_BY):
        monkeypatch.setenv(name, "")  # what `init` sets goes as well
        monkeypatch.delenv(name)
    for name in [name for name in os.environ if name.startswith("FLYTE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "flyteray"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(autouse=True)
def own_levels() -> Any:
    loggers = [logging.getLogger(name) for name in ("", "flyteray", "flyteray.user")]
    before = [(each, each.level, list(each.handlers), each.propagate) for each in loggers]
    yield
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


def written(path: Path, text: str = FILE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_program_without_any_configuration_begins_and_belongs_to_no_project() -> None:
    flyteray.init_from_config()

    assert session().settings.address is None
    with pytest.raises(errors.InitializationError, match=r"flyteray\.init\(project=\.\.\.\)") as caught:
        flyteray.current_project()
    assert caught.value.code == "ProjectNotInitializedError"
    with pytest.raises(errors.InitializationError, match=r"task\.domain"):
        flyteray.current_domain()
    assert flyteray.is_control_plane_available() is False


def test_a_configuration_file_says_project_domain_and_images() -> None:
    flyteray.init_from_config(written(Path("flyte.yaml")))

    assert (flyteray.current_project(), flyteray.current_domain()) == ("ads", "staging")
    assert session().settings.org == "acme"
    assert references(os.environ) == {"default": "registry/base:1", "gpu": "registry/gpu:2"}


def test_options_override_the_file(tmp_path: Path) -> None:
    written(tmp_path / "config.yaml")

    flyteray.init_from_config(
        "config.yaml", root_dir=tmp_path, project="own", images=("gpu=mine:3", "base:9")
    )

    assert (flyteray.current_project(), flyteray.current_domain()) == ("own", "staging")
    assert references(os.environ) == {"default": "base:9", "gpu": "mine:3"}
    assert session().settings.root_dir == tmp_path
    assert str(tmp_path) in sys.path


def test_what_was_read_from_a_file_can_be_changed_and_given() -> None:
    config = flyteray.config.auto(written(Path("flyte.yaml")))

    flyteray.init_from_config(config.with_params(task=flyteray.config.TaskConfig(project="other")))

    assert flyteray.current_project() == "other"


@pytest.mark.parametrize("missing", ["gone.yaml", Path("gone.yaml")])
def test_a_named_file_that_is_missing_is_an_error(missing: str | Path) -> None:
    with pytest.raises(errors.InitializationError, match=r"'gone\.yaml'.*working directory") as caught:
        flyteray.init_from_config(missing)

    assert caught.value.code == "ConfigFileNotFoundError"


def test_a_file_that_was_not_shipped_says_nothing_where_the_code_has_come_in_a_bundle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(bundle.active(), "a" * 64, tmp_path)

    flyteray.init_from_config("gone.yaml", domain="dev")

    assert flyteray.current_domain() == "dev"


def test_a_missing_file_that_a_variable_names_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTECTL_CONFIG", "/gone.yaml")

    with pytest.raises(errors.InitializationError, match="named by FLYTECTL_CONFIG"):
        flyteray.init_from_config()


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a path or a flyteray\.config\.Config, got 3"):
        flyteray.init_from_config(3)


async def begun() -> None:
    await flyteray.init.aio(project="p")
    assert flyteray.current_project() == "p"
    await flyteray.init_from_config.aio(project="q")
    assert flyteray.current_project() == "q"
    assert await flyteray.init_in_cluster.aio(project="r") == {"insecure": False}
    assert (await flyteray.init_passthrough.aio("e", project="s"))["endpoint"] == "e"


def test_all_have_an_async_form() -> None:
    import asyncio  # deferred: one test

    asyncio.run(begun())


def test_a_later_call_forgets_an_earlier_one() -> None:
    flyteray.init(project="p", domain="d", root_dir="x")
    flyteray.init()

    assert session().settings.root_dir is None
    with pytest.raises(errors.InitializationError):
        flyteray.current_project()


def test_inside_a_task_it_is_the_project_of_the_task() -> None:
    flyteray.init(project="p", domain="d")
    action = ActionID(name="a0", run_name="r", project="of the run")
    token = task_context.set(TaskContext(action=action))
    try:
        assert (flyteray.current_project(), flyteray.current_domain()) == ("of the run", "d")
        assert flyteray.is_control_plane_available() is True
        assert flyteray.init_in_cluster() == {"insecure": False}
        assert session().settings.project == "of the run"
    finally:
        task_context.reset(token)


def test_inside_an_app_it_is_the_project_that_it_was_served_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_INTERNAL_EXECUTION_PROJECT", "ads")
    flyteray.init_in_cluster(domain="staging")

    assert (flyteray.current_project(), flyteray.current_domain()) == ("ads", "staging")


def test_what_is_started_belongs_to_whom_init_was_told() -> None:
    env = flyteray.TaskEnvironment(name="env")
    shared = flyteray.app.Domain(subdomain=flyteray.app.Subdomain.from_app_name("app", "default"))
    below = flyteray.app.AppEnvironment(name="below", args="serve")
    app = flyteray.app.AppEnvironment(name="app", args="serve", domain=shared, depends_on=[below])

    @env.task
    def child() -> tuple[str, str]:
        return flyteray.current_project(), flyteray.current_domain()

    @env.task
    async def parent() -> tuple[str, str, str | None]:
        return *await child.aio(), flyteray.ctx().action.org

    flyteray.init(project="ads", domain="dev", org="acme")

    assert tuple(flyteray.with_runcontext("local").run(parent).outputs()) == ("ads", "dev", "acme")
    served: Any = flyteray.with_servecontext(dry_run=True, project="own").serve(app)
    for each in served.plan:
        assert each.environment.env_vars == {
            "FLYTE_INTERNAL_EXECUTION_PROJECT": "own",
            "FLYTE_INTERNAL_EXECUTION_DOMAIN": "dev",
            "_U_ORG_NAME": "acme",
        }
    assert served.plan[-1].subdomain == "app-own-dev"


def key(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_an_api_key_tells_the_org(monkeypatch: pytest.MonkeyPatch) -> None:
    flyteray.init_from_api_key(key("dns:///host:443:id:secret:acme"), project="p")
    assert (session().settings.org, flyteray.current_project()) == ("acme", "p")

    monkeypatch.setenv("FLYTE_API_KEY", key("host:id:secret:None"))
    flyteray.init_from_api_key()
    assert session().settings.org is None


def test_without_a_key_there_is_an_error_and_a_bad_one_is_not_shown() -> None:
    with pytest.raises(errors.InitializationError, match="FLYTE_API_KEY") as caught:
        flyteray.init_from_api_key()
    assert caught.value.code == "MissingApiKeyError"
    for bad in ("hush!", key("hush")):
        with pytest.raises(ValueError, match="no API key of Flyte") as refused:
            flyteray.init_from_api_key(bad)
        assert bad not in str(refused.value)


BACKEND = {
    "endpoint": "dns:///x",
    "headless": True,
    "insecure": True,
    "insecure_skip_verify": True,
    "ca_cert_file_path": "/ca.pem",
    "auth_type": "ClientSecret",
    "command": ["token"],
    "proxy_command": ["token"],
    "api_key": "hush",
    "client_id": "id",
    "client_credentials_secret": "hush",
    "auth_client_config": object(),
    "rpc_retries": 5,
    "http_proxy_url": "http://proxy",
    "disable_keyring": True,
    "batch_size": 10,
    "image_builder": "remote",
    "image_registry": "ghcr.io/x",
    "source_config_path": Path("x"),
    "sync_local_sys_paths": False,
    "load_plugin_type_transformers": False,
    "local_persistence": True,
    "local_tracked": True,
    "local_tracked_strict": True,
}


def test_what_reaches_a_backend_is_accepted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    flyteray.system_logger.info("ready")
    from flyteray._logging import said_once  # deferred: its memory is this test's

    said_once.cache_clear()
    flyteray.init(log_level=logging.INFO, **BACKEND)
    flyteray.init(log_level="info", **BACKEND)

    said = [record.getMessage() for record in caplog.records if "no meaning on Ray" in record.getMessage()]
    assert [text.split()[0] for text in said] == list(BACKEND)
    assert {record.levelname for record in caplog.records} == {"INFO"}
    assert "hush" not in caplog.text


@pytest.mark.parametrize(
    "option", [*sorted(set(BACKEND) - {"auth_client_config"}), "org", "project", "root_dir"]
)
def test_a_value_of_another_type_is_named(option: str) -> None:
    with pytest.raises(TypeError, match=rf"flyteray\.init: {option} must be a .*, got \(1\+2j\)"):
        flyteray.init(**{option: 1 + 2j})


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"log_level": "loud"}, ValueError, "log_level is 'loud'"),
        ({"user_log_level": 1.5}, TypeError, "user_log_level must be a log level"),
        ({"log_format": "xml"}, ValueError, 'must be "console" or "json", got \'xml\''),
        ({"images": {"name": 3}}, TypeError, "must map names to URIs"),
        ({"images": ["name="]}, ValueError, "name="),
    ],
)
def test_a_bad_value_is_refused(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        flyteray.init(**options)


def test_images_are_a_mapping_or_pairs() -> None:
    flyteray.init(images={"gpu": "registry/gpu:2"})
    assert references(os.environ) == {"gpu": "registry/gpu:2"}

    flyteray.init(images=["cpu=registry/cpu:1"])
    assert references(os.environ) == {"cpu": "registry/cpu:1"}


def test_the_options_of_flyte_come_first_and_in_its_order() -> None:
    names = list(inspect.signature(flyteray.init).parameters)

    assert names[:9] == [
        "org",
        "project",
        "domain",
        "root_dir",
        "log_level",
        "log_format",
        "reset_root_logger",
        "user_log_level",
        "endpoint",
    ]
    assert names[-2:] == ["address", "database"]


def said_by(program: str, **environ: str) -> list[str]:
    """What a fresh Python writes to stderr."""
    environ = {"PATH": os.environ["PATH"], "FLYTERAY_HOME": os.environ["FLYTERAY_HOME"]} | environ
    done = subprocess.run(
        [sys.executable, "-c", f"import logging, flyteray as flyte\n{program}"],
        check=True,
        capture_output=True,
        text=True,
        env=environ,
    )
    return done.stderr.splitlines()


TALK = "flyte.logger.info('users'); flyte.logger.debug('deep'); flyte.system_logger.info('own')"


def test_the_users_logger_speaks_from_info_on_and_flyterays_from_warning_on() -> None:
    assert [line.split()[-1] for line in said_by(TALK)] == ["users"]
    assert [line.split()[-1] for line in said_by(TALK, LOG_LEVEL="INFO")] == ["users", "own"]
    assert [line.split()[-1] for line in said_by(TALK, USER_LOG_LEVEL="10")] == ["users", "deep"]
    assert said_by(f"flyte.init(user_log_level='ERROR'); {TALK}") == []
    assert [line.split()[-1] for line in said_by(f"flyte.init(log_level=20); {TALK}")] == ["users", "own"]


def test_where_the_program_configures_logging_it_is_heard_once_and_in_its_form() -> None:
    basic = "logging.basicConfig(format='mine %(message)s')"

    assert said_by(f"{basic}; {TALK}") == ["mine users"]
    assert said_by(f"flyte.logger; {basic}; {TALK}") == ["mine users"]
    assert said_by("flyte.init(); print(logging.getLogger().handlers, file=__import__('sys').stderr)") == [
        "[]"
    ]


def test_json_is_one_object_a_line_and_the_root_logger_is_reset_when_asked() -> None:
    (line,) = said_by(f"flyte.init(log_format='json'); {TALK}")
    assert '"message": "users"' in line
    assert '"logger": "flyteray.user"' in line
    (line,) = said_by(f"logging.basicConfig(); flyte.init(log_format='json'); {TALK}")
    assert '"message": "users"' in line
    (line,) = said_by("flyte.init(reset_root_logger=True, log_level=20); logging.getLogger('x').info('root')")
    assert line.endswith("INFO x: root")


def test_a_record_of_a_task_says_which_action_it_is_of(caplog: pytest.LogCaptureFixture) -> None:
    token = task_context.set(TaskContext(action=ActionID(name="a0.1", run_name="r1")))
    flyteray.logger.info("inside")
    task_context.reset(token)
    flyteray.logger.info("outside")

    assert [(each.run_name, each.action_name) for each in caplog.records] == [("r1", "a0.1"), (None, None)]  # type: ignore[attr-defined]

"""Options of tasks and environments: what Flyte accepts is accepted, what it refuses is refused."""

from __future__ import annotations

import pickle
import warnings
from datetime import timedelta
from typing import Any

import pytest

import flyteray as flyte
from flyteray._declare.options.cache import VersionParameters
from flyteray._plan.values import pickling

MINUTE = timedelta(minutes=1)


class ByDay:
    def get_version(self, salt: str, params: VersionParameters) -> str:
        return f"{salt}-monday"


class Refusing:
    def get_version(self, salt: str, params: VersionParameters) -> str:
        raise LookupError("no git here")


class Board:
    """A link as Flyte's protocol has it."""

    name = "board"
    icon_uri = ""

    def get_link(self, *_: Any, **__: Any) -> str:
        return "https://example.com"


def double(x: int) -> int:
    return 2 * x


async def adouble(x: int) -> int:
    return 2 * x


@pytest.fixture
def env() -> flyte.TaskEnvironment:
    return flyte.TaskEnvironment("options")


# Cache


@pytest.mark.parametrize(
    ("word", "behavior"), [("auto", "auto"), ("ENABLE", "auto"), ("override", "override"), ("No", "disable")]
)
def test_words_for_caching_are_understood(word: Any, behavior: str) -> None:
    assert flyte.Cache(word).behavior == behavior


@pytest.mark.parametrize("word", ["always", "", True, False, None, 1])
def test_other_words_for_caching_are_refused(word: Any) -> None:
    with pytest.raises(ValueError, match="cache behavior"):
        flyte.Cache(word)


@pytest.mark.parametrize(("age", "error"), [("1h", TypeError), (True, TypeError), (-1, ValueError)])
def test_a_bad_age_of_results_is_refused(age: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_age"):
        flyte.Cache("auto", max_age=age)


def test_an_age_in_seconds_is_a_timedelta() -> None:
    assert flyte.Cache("auto", max_age=60).max_age == MINUTE


def test_policies_name_the_state_of_the_code() -> None:
    params = VersionParameters(func=double)

    assert flyte.Cache("auto").get_version(params) == flyte.Cache("auto").get_version(params)
    assert flyte.Cache("auto", salt="2").get_version(params) != flyte.Cache("auto").get_version(params)
    assert flyte.Cache("auto", policies=ByDay()).get_version(params) != flyte.Cache("auto").get_version(
        params
    )
    assert isinstance(ByDay(), flyte.CachePolicy)


def test_a_version_of_ones_own_goes_before_policies() -> None:
    assert flyte.Cache("auto", version_override="v7").get_version() == "v7"
    assert flyte.Cache("disable").get_version() == ""


@pytest.mark.parametrize(
    ("cache", "params"),
    [
        (flyte.Cache("auto"), None),
        (flyte.Cache("auto", policies=[Refusing()]), VersionParameters(func=double)),
    ],
)
def test_a_version_that_can_not_be_told_is_a_value_error(cache: flyte.Cache, params: Any) -> None:
    with pytest.raises(ValueError, match=r"function|policy"):
        cache.get_version(params)


def test_no_policies_need_a_version() -> None:
    with pytest.raises(ValueError, match="version_override"):
        flyte.Cache("auto", policies=[])


def test_ignored_inputs_are_a_tuple() -> None:
    assert flyte.Cache("auto", ignored_inputs="now").get_ignored_inputs() == ("now",)


# Time


@pytest.mark.parametrize("wrong", ["60", 1.5, -1, -MINUTE, True])
def test_a_bad_timeout_is_refused_at_declaration(env: flyte.TaskEnvironment, wrong: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        env.task(timeout=wrong)(double)


@pytest.mark.parametrize("none", [0, timedelta(0), flyte.Timeout(), flyte.Timeout(deadline=0)])
def test_no_timeout_is_no_word_about_it(env: flyte.TaskEnvironment, none: Any) -> None:
    assert env.task(timeout=none)(double).timeout == none


@pytest.mark.parametrize(
    "limit", [60, MINUTE, flyte.Timeout(max_queued_time=5), flyte.Timeout(deadline=MINUTE)]
)
def test_a_timeout_is_kept_without_a_word(env: flyte.TaskEnvironment, limit: Any) -> None:
    assert env.task(timeout=limit)(double).timeout == limit


# Reuse


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": None},
        {"replicas": [1, 2]},
        {"replicas": (1, 2, 3)},
        {"replicas": -1},
        {"replicas": 0},
        {"replicas": (0, 0)},
        {"replicas": (3, 1)},
        {"replicas": (1, 2.5)},
        {"concurrency": 0},
        {"concurrency": "2"},
        {"idle_ttl": 29},
        {"idle_ttl": timedelta(seconds=1)},
        {"scaledown_ttl": "1m"},
        {"scope": "node"},
    ],
    ids=str,
)
def test_a_bad_reuse_policy_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ReusePolicy"):
        flyte.ReusePolicy(**wrong)


def test_a_reuse_policy_is_read_as_pairs_and_times() -> None:
    policy = flyte.ReusePolicy(replicas=3, idle_ttl=60)

    assert (policy.replicas, policy.min_replicas, policy.max_replicas) == ((3, 3), 3, 3)
    assert (policy.idle_ttl, policy.get_scaledown_ttl()) == (MINUTE, MINUTE / 2)


@pytest.fixture
def reusing() -> flyte.TaskEnvironment:
    return flyte.TaskEnvironment("reusing", reusable=flyte.ReusePolicy(concurrency=2))


def test_tasks_of_reused_processes_are_refused_what_these_can_not_have(
    reusing: flyte.TaskEnvironment,
) -> None:
    with pytest.raises(ValueError, match="concurrency greater than 1 is only supported for async"):
        reusing.task(double)
    with pytest.raises(ValueError, match="pod_template"):
        reusing.task(pod_template=flyte.PodTemplate())(adouble)
    with pytest.raises(ValueError, match="service_account"):
        reusing.task(service_account="robot")(adouble)


@pytest.mark.parametrize(
    "change", [{"resources": flyte.Resources(cpu=1)}, {"env_vars": {"A": "1"}}, {"secrets": "key"}], ids=str
)
def test_what_reused_processes_start_with_is_overridden_with_reuse_off_only(
    reusing: flyte.TaskEnvironment, change: dict[str, Any]
) -> None:
    task = reusing.task(adouble)

    with pytest.raises(ValueError, match="when reusable is set"):
        task.override(**change)
    freed = task.override(reusable="off", **change)
    assert freed.reusable is None
    copy: Any = pickling.load(pickling.dump(freed))
    assert (copy.reusable, getattr(copy, next(iter(change)))) == (None, next(iter(change.values())))


# Triggers


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: flyte.Trigger(""), ValueError),
        (lambda: flyte.Trigger("a", "0 * * * *"), TypeError),
        (lambda: flyte.Trigger("a", max_action_concurrency=1), ValueError),
        (lambda: flyte.Trigger("a", max_action_concurrency=-2), ValueError),
        (lambda: flyte.Trigger("a", flyte.OnArtifact("m"), inputs={"t": flyte.TriggerTime}), ValueError),
        (lambda: flyte.Trigger("a", inputs={"t": flyte.TriggerTime}), ValueError),
        (
            lambda: flyte.Trigger("a", flyte.Cron("* * * * *"), inputs={"m": flyte.TriggeredArtifact}),
            ValueError,
        ),
        (lambda: flyte.Trigger("a", inputs={"p": flyte.TriggeredPartition("day")}), ValueError),
        (
            lambda: flyte.Trigger(
                "a",
                flyte.OnArtifact("m"),
                inputs={"m": flyte.TriggeredArtifact, "n": flyte.TriggeredArtifact},
            ),
            ValueError,
        ),
        (lambda: flyte.TriggeredPartition(""), ValueError),
        (lambda: flyte.OnArtifact(""), ValueError),
        (lambda: flyte.OnArtifact("m", day=3), TypeError),
        (lambda: flyte.Cron("every day"), ValueError),
        (lambda: flyte.Cron("0 0 * * *", timezone="Mars/Base"), ValueError),
        (lambda: flyte.Cron("0 0 30 2 *"), ValueError),
        (lambda: flyte.Cron("61 * * * *"), ValueError),
        (lambda: flyte.Cron(3), ValueError),  # type: ignore[arg-type]
        (lambda: flyte.FixedRate(1.5), ValueError),  # type: ignore[arg-type]
        (lambda: flyte.FixedRate(0), ValueError),
        (lambda: flyte.FixedRate(1, "noon"), TypeError),  # type: ignore[arg-type]
        (lambda: flyte.Trigger("a", env_vars={"A": 1}), TypeError),  # type: ignore[dict-item]
        (lambda: flyte.Trigger.daily(automation=flyte.FixedRate(1)), TypeError),
    ],
    ids=map(str, range(22)),
)
def test_a_bad_trigger_is_refused(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def test_ready_made_schedules_take_the_options_of_a_trigger() -> None:
    weekly = flyte.Trigger.weekly("when", inputs={"x": 1}, auto_activate=False)

    assert (weekly.name, weekly.auto_activate) == ("weekly", False)
    assert weekly.automation == flyte.Cron("0 0 * * 0")
    assert weekly.inputs == {"when": flyte.TriggerTime, "x": 1}
    assert str(weekly.automation) == "Cron Trigger: CRON_TZ=UTC 0 0 * * 0"


def test_sentinels_stay_themselves_when_they_travel() -> None:
    assert pickle.loads(pickle.dumps(flyte.TriggerTime)) is flyte.TriggerTime


def test_partitions_can_be_keywords() -> None:
    assert flyte.OnArtifact("m", partitions={"a": "1"}, b="2").partitions == {"a": "1", "b": "2"}
    assert flyte.OnArtifact("m").partitions is None


def test_a_task_keeps_its_triggers_as_a_tuple(env: flyte.TaskEnvironment) -> None:
    daily = flyte.Trigger.daily()

    assert env.task(triggers=daily)(double).triggers == (daily,)
    assert env.task(triggers=[daily])(double).triggers == (daily,)
    assert env.task(double).triggers == ()
    with pytest.raises(TypeError, match="Trigger objects"):
        env.task(triggers=("0 * * * *",))(double)  # type: ignore[arg-type]


# What a task is told


def test_options_without_a_meaning_here_are_accepted_and_said(env: flyte.TaskEnvironment) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        task = env.task(
            cache="auto",
            report=True,
            max_inline_io_bytes=5,
            queue="gpu",
            service_account="robot",
            pod_template="big",
            links=Board(),
            task_resolver=object(),
            produces_artifacts=True,
            entrypoint=True,
            interruptible=True,
        )(double)

    told = " ".join(str(each.message) for each in said)
    unsaid = {"cache", "entrypoint", "interruptible", "links", "produces_artifacts", "report"}
    spoken_of = ["max_inline_io_bytes", "queue", "service_account", "pod_template"]
    spoken_of += ["task_resolver"]
    assert [option for option in spoken_of if option not in told] == []
    assert not [option for option in unsaid if option in told]
    assert {each.filename for each in said} == {__file__}
    assert (task.cache.behavior, task.report, task.max_inline_io_bytes) == ("auto", True, 5)
    assert (task.queue, task.service_account, task.pod_template) == ("gpu", "robot", "big")
    assert (task.links[0].name, task.entrypoint, task.interruptible) == ("board", True, True)


def test_options_that_ask_for_nothing_are_not_spoken_of() -> None:
    env = flyte.TaskEnvironment("silent", cache="disable", reusable=None, plugin_config=None, queue=None)

    task = env.task(
        cache="disable",
        timeout=0,
        report=False,
        triggers=(),
        links=(),
        pod_template=None,
        service_account=None,
        queue=None,
        task_resolver=None,
        produces_artifacts=False,
        max_inline_io_bytes=10 << 20,
        retries=0,
    )(double)

    assert (task.cache.behavior, task.timeout, task.reusable) == ("disable", 0, None)


def test_a_task_takes_after_its_environment() -> None:
    with pytest.warns(UserWarning, match="no meaning on Ray"):
        env = flyte.TaskEnvironment(
            "like", queue="gpu", service_account="robot", pod_template="big", interruptible=True, cache="off"
        )
    task = env.task(double)

    assert (task.queue, task.service_account, task.pod_template) == ("gpu", "robot", "big")
    assert (task.interruptible, task.cache.behavior) == (True, "disable")
    assert task.native_interface is task.interface
    assert task.source_file == __file__


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"cache": 3}, TypeError),
        ({"cache": True}, TypeError),
        ({"reusable": "on"}, TypeError),
        ({"queue": 3}, TypeError),
        ({"pod_template": 3}, TypeError),
    ],
    ids=str,
)
def test_bad_fields_of_a_task_environment_are_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        flyte.TaskEnvironment("bad", **fields)


@pytest.mark.parametrize("cache", ["sometimes", "AUTOMATIC"])
def test_an_unknown_word_for_caching_is_refused_when_a_task_is_declared(cache: Any) -> None:
    env = flyte.TaskEnvironment("words", cache=cache)

    with pytest.raises(ValueError, match="cache behavior"):
        env.task(double)


def test_settings_of_plugins_are_refused_when_a_task_is_declared(env: flyte.TaskEnvironment) -> None:
    plugged = flyte.TaskEnvironment("plugged", plugin_config={"workers": 2})

    with pytest.raises(ValueError, match="no task plugin is registered"):
        plugged.task(double)
    with pytest.raises(ValueError, match="no task plugin is registered"):
        env.task(double).override(plugin_config={"workers": 2})


def test_documentation_is_a_text(env: flyte.TaskEnvironment) -> None:
    task = env.task(docs=flyte.Documentation(description="Twice."))(double)

    assert task.docs == "Twice."
    assert task.docs.description == "Twice."


def test_environments_take_their_fields_in_flytes_order() -> None:
    with pytest.warns(UserWarning, match="pod_template"):
        env = flyte.TaskEnvironment(
            "ordered",
            [],
            "big",
            "For people.",
            "key",
            {"A": "1"},
            flyte.Resources(cpu=2),
            False,
            "auto",
            ("x",),
        )

    assert (env.description, env.secrets, env.env_vars, env.include) == (
        "For people.",
        "key",
        {"A": "1"},
        ("x",),
    )
    assert env.resources == flyte.Resources(cpu=2)


def test_a_clone_takes_all_fields() -> None:
    env = flyte.TaskEnvironment("first")

    with pytest.warns(UserWarning, match=r"queue|pod_template"):
        clone = env.clone_with("second", cache="off", queue="gpu", pod_template="big")
    assert (clone.cache, clone.queue, clone.pod_template, clone.tasks) == ("off", "gpu", "big", {})
    placed = env.clone_with(
        "third", "image", flyte.Resources(cpu=2), {"A": "1"}, "key", [clone], "what it is"
    )
    assert (placed.image, placed.resources, placed.env_vars) == ("image", flyte.Resources(cpu=2), {"A": "1"})
    assert (placed.secrets, placed.depends_on, placed.description) == ("key", [clone], "what it is")
    served = flyte.app.AppEnvironment("app", port=9000).clone_with("other", "image")
    assert (served.image, served.port) == ("image", flyte.app.Port(port=9000))


def test_two_triggers_of_a_task_have_two_names() -> None:
    twice = (flyte.Trigger("nightly", flyte.Cron("0 0 * * *")), flyte.Trigger("nightly"))

    with pytest.raises(ValueError, match=r"'e\.f': it has two triggers 'nightly'"):

        @flyte.TaskEnvironment("e").task(triggers=twice)
        def f() -> None: ...


# Pods


def test_pod_templates_are_values() -> None:
    with pytest.raises(TypeError, match="grace_period"):
        flyte.PodTemplate().with_termination_grace_period("1m")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative"):
        flyte.PodTemplate().with_termination_grace_period(-1)
    assert flyte.PodTemplate(labels={"a": "b"}).with_termination_grace_period(MINUTE).labels == {"a": "b"}


class Container:
    def __init__(self, name: str) -> None:
        self.name = name


class Pod:
    def __init__(self, *names: str) -> None:
        self.containers = [Container(name) for name in names]


@pytest.mark.parametrize(
    ("pod", "asked", "primary"),
    [(Pod("a"), None, "a"), (Pod("a", "primary"), None, "primary"), (Pod("a", "b"), "b", "b")],
)
def test_the_primary_container_is_found(pod: Pod, asked: str | None, primary: str) -> None:
    assert flyte.PodTemplate.from_spec(pod, primary_container_name=asked).primary_container_name == primary


@pytest.mark.parametrize(("pod", "asked"), [(Pod("a", "b"), None), (Pod("a"), "b"), (Pod(), None)])
def test_a_primary_container_that_is_not_there_is_refused(pod: Pod, asked: str | None) -> None:
    with pytest.raises(ValueError, match="primary_container_name"):
        flyte.PodTemplate.from_spec(pod, primary_container_name=asked)


def test_tasks_without_an_environment_get_one_together() -> None:
    from flyteray._declare.tasks.task import AsyncTask, SyncTask  # as who makes kinds of tasks does

    first, second = SyncTask(double), AsyncTask(adouble)

    env = flyte.TaskEnvironment.from_task("together", first, second)

    assert env.tasks == {"double": first, "adouble": second}
    assert first.parent_env() is env
    with pytest.raises(ValueError, match="multiple environments"):
        flyte.TaskEnvironment.from_task("again", first)
    with pytest.raises(TypeError, match="takes tasks"):
        flyte.TaskEnvironment.from_task("functions", double)  # type: ignore[arg-type]


def test_a_long_description_of_a_trigger_is_cut_and_says_so() -> None:
    assert flyte.Trigger("long", description="x" * 300).description == "x" * 247 + "...(tr.)"
    assert flyte.Trigger("short", description="x" * 255).description == "x" * 255

"""The manifests of an app: KubeRay takes them, and they say what the app's environment says."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from ray import serve

import flyteray as flyte
from flyteray._declare.options.pod import PodTemplate
from flyteray._plan.apps import app_spec, in_order
from flyteray._plan.kuberay.manifests import ClusterOptions, manifests
from flyteray._plan.kuberay.notes import notes
from flyteray._plan.kuberay.sources import Sources
from flyteray._plan.resources import environment_spec
from flyteray.app import AppEnvironment, Domain, Scaling
from flyteray.app.extras import ServeAppEnvironment
from tests import kuberay
from tests.unit.builders import CODE

SOURCES = Sources({"pkg/app.py": b"env = 1\n", "logo.png": b"\x89PNG"}, "flyteray serve pkg/app.py env")


@serve.deployment
class Part:
    def __init__(self, *parts: Any) -> None: ...

    def __call__(self) -> None: ...


def app(name: str = "digits", **fields: Any) -> AppEnvironment:
    return AppEnvironment(**{"name": name, "args": "serve", "resources": flyte.Resources(cpu=1), **fields})


def planned(env: AppEnvironment) -> list[Any]:
    return [(each, app_spec(each, CODE)) for each in in_order(env)]


def exported(
    env: AppEnvironment,
    tasks: Sequence[flyte.TaskEnvironment] = (),
    sources: Sources = SOURCES,
    **options: Any,
) -> list[dict[str, Any]]:
    called = [(each, environment_spec(each, 1.0)) for each in tasks]
    made = manifests(planned(env), called, sources, ClusterOptions(ray="2.60.0", **options))
    assert [wrong for each in made for wrong in kuberay.mistakes(each)] == []
    return made


def told(env: AppEnvironment, tasks: Sequence[flyte.TaskEnvironment] = (), **options: Any) -> str:
    called = [(each, environment_spec(each, 1.0)) for each in tasks]
    return "\n".join(notes(planned(env), called, ClusterOptions(ray="2.60.0", **options)))


def groups(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kuberay.of_kind(made, "RayCluster")["spec"]["workerGroupSpecs"]
    return found


@pytest.mark.skipif(not kuberay.HAS_SCHEMAS, reason="KubeRay's schemas are not beside this checkout")
def test_a_misspelt_key_is_a_mistake() -> None:
    for kind, path in {"RayCluster": ("headGroupSpec",), "RayJob": ("submitterPodTemplate", "spec")}.items():
        broken = copy.deepcopy(kuberay.of_kind(exported(app()), kind))
        where = broken["spec"]
        for step in path:
            where = where[step]
        where["misspelt"] = 1

        assert kuberay.mistakes(broken) != []


@pytest.mark.parametrize(
    ("scaling", "least", "most"),
    [
        (Scaling((1, 4)), 1, 4),
        (Scaling((0, 3)), 0, 3),
        (Scaling(2), 2, 2),
        (Scaling(), 0, 1),
        (Scaling(0), 0, 1),
        (Scaling((2, 5), metric=Scaling.RequestRate(100)), 2, 5),
    ],
)
def test_the_pods_are_as_many_as_the_scaling_says(scaling: Scaling, least: int, most: int) -> None:
    made = exported(app(scaling=scaling))
    (group,) = groups(made)

    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (least, least, most)
    assert kuberay.of_kind(made, "RayCluster")["spec"]["enableInTreeAutoscaling"] is (least < most)


def test_every_app_that_is_needed_and_the_tasks_that_may_be_called_have_pods() -> None:
    model = app("model", resources=flyte.Resources(cpu=4, gpu=1), scaling=Scaling(2))
    page = app("page", depends_on=[model])
    tasks = flyte.TaskEnvironment(name="re_train", resources=flyte.Resources(cpu=8))

    made = exported(page, [tasks], task_pods=3)

    assert [(each["groupName"], each["minReplicas"], each["maxReplicas"]) for each in groups(made)] == [
        ("model", 2, 2),
        ("page", 0, 1),
        ("re-train-tasks", 0, 3),
    ]
    types = kuberay.node_types(kuberay.of_kind(made, "RayCluster"))
    assert [types[name]["resources"]["CPU"] for name in ("headgroup", "model", "page", "re-train-tasks")] == [
        0,
        4,
        1,
        8,
    ]


def test_the_service_leads_to_the_ingress_of_the_head() -> None:
    made = exported(app(scaling=Scaling(2)))
    service = kuberay.of_kind(made, "Service")["spec"]
    cluster = kuberay.of_kind(made, "RayCluster")
    (port,) = service["ports"]
    (container,), *workers = (pod["containers"] for pod in kuberay.pods([cluster]))
    listening = {each["name"]: each["containerPort"] for each in container["ports"]}
    variables = {each["name"]: each["value"] for each in container["env"]}

    assert service["selector"] == {
        "ray.io/cluster": cluster["metadata"]["name"],
        "ray.io/node-type": "head",
    }
    assert str(listening[port["targetPort"]]) == variables["FLYTERAY_PORT"]
    assert variables["FLYTERAY_INGRESS"] == "head"
    for (worker,) in workers:
        assert "ports" not in worker
        assert worker["env"] == container["env"]


def test_no_pod_waits_for_an_ingress_to_be_ready() -> None:
    for pod in kuberay.pods([kuberay.of_kind(exported(app(scaling=Scaling(2))), "RayCluster")]):
        (container,) = pod["containers"]
        probes = {name: probe["httpGet"] for name, probe in container.items() if name.endswith("Probe")}

        assert probes.keys() == {"startupProbe", "livenessProbe", "readinessProbe"}
        assert {(each["path"], each["port"]) for each in probes.values()} == {("/api/healthz", 52365)}


def test_the_job_finds_the_code_under_its_own_names() -> None:
    made = exported(app())
    config, job = (kuberay.of_kind(made, kind) for kind in ("ConfigMap", "RayJob"))
    (volume,) = job["spec"]["submitterPodTemplate"]["spec"]["volumes"]

    assert config["data"] == {"pkg_app.py": "env = 1\n"}
    assert config["binaryData"] == {"logo.png": "iVBORw=="}
    assert volume["configMap"] == {
        "name": "digits-code",
        "items": [{"key": "pkg_app.py", "path": "pkg/app.py"}, {"key": "logo.png", "path": "logo.png"}],
    }
    assert job["spec"]["entrypoint"] == "flyteray serve pkg/app.py env"
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": "digits"}


def test_places_that_look_alike_keep_keys_of_their_own() -> None:
    made = exported(app(), sources=Sources({"a/b.py": b"1", "a_b.py": b"2"}, "flyteray serve a_b.py env"))

    assert sorted(kuberay.of_kind(made, "ConfigMap")["data"].values()) == ["1", "2"]


def test_places_that_are_too_long_for_a_key_are_shortened_and_stay_apart() -> None:
    places = [f"{'deep/' * 60}{name}.py" for name in ("a", "b")] + [f"other/{'deep/' * 60}a.py"]
    made = exported(app(), sources=Sources(dict.fromkeys(places, b"1"), "flyteray serve a.py env"))
    (volume,) = kuberay.of_kind(made, "RayJob")["spec"]["submitterPodTemplate"]["spec"]["volumes"]
    items = volume["configMap"]["items"]

    assert [item["path"] for item in items] == places
    assert {item["key"] for item in items} == kuberay.of_kind(made, "ConfigMap")["data"].keys()
    assert max(len(item["key"]) for item in items) <= 253


@pytest.mark.parametrize("name", ["a" * 64, "headgroup"])
def test_a_name_that_no_group_of_pods_can_have_is_made_one(name: str) -> None:
    tasks = [flyte.TaskEnvironment(name=f"{'t' * 60}{end}") for end in ("a", "b")]
    made = exported(app(name, resources=flyte.Resources(cpu=4)), tasks, name="digits")
    names = [group["groupName"] for group in groups(made)]
    types = kuberay.node_types(kuberay.of_kind(made, "RayCluster"))

    assert len(set(names)) == 3
    assert all(len(each) <= 63 for each in names)
    assert types["headgroup"]["resources"]["CPU"] == 0
    assert types[names[0]]["resources"]["CPU"] == 4


@pytest.mark.parametrize(
    ("looks", "message"),
    [
        (
            {"labels": {"my team": "a"}},
            "The pod_template of AppEnvironment 'digits': 'my team' can't be the name of a",
        ),
        ({"labels": {"team": "a" * 64}}, "label 'team' is 'a{64}', and Kubernetes takes at most 63 letters"),
        ({"labels": {"team": "a b"}}, "label 'team' is 'a b', and"),
        ({"labels": {"team": 1}}, "label 'team' is 1, and"),
        ({"labels": {"ray.io/group": "a"}}, "the label 'ray.io/group' is KubeRay's own; leave it out"),
        ({"annotations": {"a/b/c": "a"}}, "'a/b/c' can't be the name of an annotation"),
    ],
)
def test_labels_that_no_pod_can_have_are_refused(looks: dict[str, Any], message: str) -> None:
    with pytest.warns(UserWarning, match="no meaning on Ray"):
        env = app(pod_template=PodTemplate(**looks))

    with pytest.raises(ValueError, match=message):
        exported(env)


def test_labels_that_pods_can_have() -> None:
    labels = {"a.example.com/Team_1": "", "x": "A.b-c_1", "y" * 63: "z" * 63}
    with pytest.warns(UserWarning, match="no meaning on Ray"):
        env = app(
            pod_template=PodTemplate(labels=labels, annotations={"a": "any text, as long as it is one"})
        )
    (group,) = groups(exported(env))

    assert group["template"]["metadata"]["labels"] == labels


def test_another_version_of_the_code_is_another_job() -> None:
    jobs = [
        kuberay.of_kind(exported(app(), sources=Sources({"a.py": text}, "flyteray serve a.py env")), "RayJob")
        for text in (b"1", b"1", b"2")
    ]
    names = [job["metadata"]["name"] for job in jobs]

    assert names[0] == names[1] != names[2]


def test_code_that_the_image_has_needs_no_config_map() -> None:
    made = exported(app(), sources=Sources({}, "flyteray serve --copy-style none --version 1 a.py env"))

    assert [each["kind"] for each in made] == ["PersistentVolumeClaim", "RayCluster", "Service", "RayJob"]
    assert "runtimeEnvYAML" not in kuberay.of_kind(made, "RayJob")["spec"]


def test_all_pods_run_the_container_that_the_app_asks_for_and_know_it() -> None:
    made = exported(app(image="ghcr.io/team/app:1"))

    for pod in kuberay.pods(made):
        assert [each["image"] for each in pod["containers"]] == ["ghcr.io/team/app:1"]
    (worker,) = kuberay.pods(made)[1]["containers"]
    assert {"name": "FLYTERAY_CONTAINER", "value": "ghcr.io/team/app:1"} in worker["env"]


def test_an_image_that_is_named_is_taken() -> None:
    env = app(image="ghcr.io/team/app:1")

    assert {
        each["image"] for pod in kuberay.pods(exported(env, image="x:2")) for each in pod["containers"]
    } == {"x:2"}
    assert "asks for the container ghcr.io/team/app:1, and runs in x:2" in told(env, image="x:2")


def test_two_containers_are_refused() -> None:
    page = app("page", image="a:1", depends_on=[app("model", image="b:1")])

    with pytest.raises(ValueError, match=r"'model' runs in b:1, 'page' runs in a:1.*name it with --image"):
        exported(page)


def test_a_bucket_needs_no_volume_and_a_database() -> None:
    made = exported(app(), storage="s3://bucket/apps")

    assert "PersistentVolumeClaim" not in {each["kind"] for each in made}
    for pod in kuberay.pods([kuberay.of_kind(made, "RayCluster")]):
        (container,) = pod["containers"]
        assert {"name": "FLYTERAY_STORAGE", "value": "s3://bucket/apps"} in container["env"]
        assert {"secretRef": {"name": "digits-storage", "optional": True}} in container["envFrom"]
    assert "FLYTERAY_DATABASE" in told(app(), storage="s3://bucket/apps")
    assert "FLYTERAY_DATABASE" not in told(app())


def test_the_key_of_secrets_is_for_the_head_alone() -> None:
    head, *workers = kuberay.pods([kuberay.of_kind(exported(app()), "RayCluster")])

    assert "digits-head" in str(head["containers"][0]["envFrom"])
    assert all("digits-head" not in str(worker) for worker in workers)


def test_what_kubernetes_knows_of_an_environment_reaches_its_pods() -> None:
    with pytest.warns(UserWarning, match="no meaning on Ray"):
        env = app(
            service_account="reader",
            pod_template=PodTemplate(labels={"team": "ml"}, annotations={"a/b": "c"}),
            resources=flyte.Resources(gpu="T4:1"),
        )
    (group,) = groups(exported(env, selector={"gke": "t4"}))

    assert group["template"]["metadata"] == {"labels": {"team": "ml"}, "annotations": {"a/b": "c"}}
    assert group["template"]["spec"]["serviceAccountName"] == "reader"
    assert group["template"]["spec"]["nodeSelector"] == {"gke": "t4"}
    assert group["template"]["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]


def test_labels_of_nodes_are_for_pods_with_accelerators() -> None:
    (group,) = groups(exported(app(), selector={"gke": "t4"}))

    assert "nodeSelector" not in group["template"]["spec"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Digits"}, "'Digits' can't be a cluster's name: KubeRay takes at most 38"),
        ({"name": "d" * 39}, "can't be a cluster's name"),
        ({"image": ""}, "'' is no container image: write registry/name:tag"),
        ({"image": "my image"}, "'my image' is no container image"),
        ({"url": "apps.example.com"}, "'apps.example.com' is no address for apps: write it as https://"),
        ({"url": "https://apps.example.com/a?b"}, "is no address for apps"),
        ({"selector": {"gke": "a b"}}, "--node-selector: the label 'gke' is 'a b', and Kubernetes takes"),
        ({"storage": "/data"}, "'/data' is no bucket: name one, such as s3://bucket/prefix"),
        ({"storage": "s4://bucket"}, "is of an unknown kind 's4'"),
        ({"storage": "s3://"}, "names no bucket: write s3://BUCKET/PATH"),
        ({"storage": "file:///data"}, "'file:///data' is no bucket"),
    ],
)
def test_what_can_not_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterOptions(ray="2.60.0", **options)


def test_an_app_whose_name_no_cluster_can_have_needs_another() -> None:
    assert kuberay.of_kind(exported(app("2nd"), name="second"), "RayCluster")["metadata"] == {
        "name": "second"
    }
    with pytest.raises(ValueError, match="'2nd' can't be a cluster's name"):
        exported(app("2nd"))


@pytest.mark.parametrize("url", ["http://apps", "https://{app}.example.com", "https://example.com:8443/apps"])
def test_addresses_that_apps_can_have(url: str) -> None:
    assert ClusterOptions(ray="2.60.0", url=url).url == url


def test_two_groups_of_one_name_are_refused() -> None:
    tasks = [flyte.TaskEnvironment(name=name) for name in ("a_b", "a-b")]

    with pytest.raises(ValueError, match="Two environments would have the pods 'a-b-tasks'"):
        exported(app(), tasks)


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"resources": None}, "asks for no CPUs, so its replicas share any pods"),
        ({"resources": flyte.Resources(gpu="T4:1")}, "asks for T4, which Kubernetes has no common word for"),
        ({"secrets": ["TOKEN"]}, "asks for the secrets TOKEN: keep them on the cluster"),
        (
            {"image": flyte.Image.from_debian_base().with_pip_packages("left-pad==1.0")},
            "has its packages (left-pad==1.0) installed in each pod",
        ),
        ({"interruptible": True}, "may run on nodes that vanish"),
        (
            {"domain": Domain(custom_domain="digits.example.com")},
            "host names of their own (digits.example.com)",
        ),
    ],
    ids=str,
)
def test_what_manifests_leave_to_people_is_said(fields: dict[str, Any], note: str) -> None:
    assert note in told(app(**fields))
    assert note not in told(app())


def test_deployments_of_a_composition_that_need_pods_of_their_own_are_said() -> None:
    small, large = Part.bind(), Part.options(name="Large", ray_actor_options={"num_cpus": 4}).bind()

    assert "deployments with hardware of their own (Large)" in told(
        ServeAppEnvironment(name="digits", app=Part.options(name="Front").bind(small, large))
    )


def test_layers_that_only_the_pods_image_can_have_are_said() -> None:
    with pytest.warns(UserWarning, match="can't be added on Ray"):
        image = flyte.Image.from_debian_base().with_apt_packages("ffmpeg")

    assert "must be in the pods' image" in told(app(image=image))


def test_what_a_pod_template_says_beyond_labels_is_said_to_be_left_out() -> None:
    with pytest.warns(UserWarning, match="no meaning on Ray"):
        env = app(pod_template="gpu-pods")

    assert "the labels and annotations are exported, not the pod's spec" in told(env)


def test_a_proxy_that_ends_tls_has_to_be_trusted() -> None:
    made = exported(app(), url="https://apps.example.com")

    (head,) = kuberay.pods(made)[0]["containers"]
    assert {"name": "FLYTERAY_URL", "value": "https://apps.example.com"} in head["env"]
    assert "FLYTERAY_TRUSTED_PROXIES" in told(app(), url="https://apps.example.com")

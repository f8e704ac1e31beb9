"""What every pod has to be: restricted, probed, bounded, drained, and selected by what means to select it."""

from typing import Any

import pytest

LONG_RUNNING = ("api", "worker")
DRAIN_SECONDS = 30  # what `serve` and `worker` take at most after SIGTERM


def fits(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}
    return bool(selector["matchLabels"].items() <= labels.items())


def test_every_command_of_a_deployment_has_one_pod(rendered: Any) -> None:
    commands = {component: container["args"] for component, container in rendered.containers().items()}
    assert commands == {"api": ["serve"], "worker": ["worker"], "migrate": ["migrate"], "cleanup": ["cleanup"]}


def test_pods_meet_the_restricted_standard(rendered: Any) -> None:
    for component, pod in rendered.pods().items():
        spec, container = pod["spec"], rendered.containers()[component]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all(volume.keys() == {"name", "emptyDir"} for volume in spec["volumes"])
    (namespace,) = rendered.kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_pods_hold_no_token_and_no_service_links(rendered: Any) -> None:
    accounts = {each["metadata"]["name"]: each for each in rendered.kind("ServiceAccount")}
    for pod in rendered.pods().values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert accounts[pod["spec"]["serviceAccountName"]]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False, "a Service named trunkline-… would add variables that start like our settings"


def test_scratch_is_writable_and_bounded(rendered: Any) -> None:
    for component, container in rendered.containers().items():
        (volume,) = rendered.pods()[component]["spec"]["volumes"]
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/tmp"}]  # noqa: S108  the pod's own
        assert volume["emptyDir"]["sizeLimit"]


def test_memory_is_bounded_and_processor_time_requested(rendered: Any) -> None:
    for component, container in rendered.containers().items():
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert "memory" in resources["limits"]
        assert ("cpu" in resources["limits"]) == (component not in LONG_RUNNING), "a throttled answer is late for somebody on the phone"


@pytest.mark.parametrize(("component", "port"), [("api", 8080), ("worker", 8081)])
def test_probes_ask_the_right_question_on_the_right_port(rendered: Any, component: str, port: int) -> None:
    container = rendered.containers()[component]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    paths = {"startupProbe": "/health/live", "livenessProbe": "/health/live", "readinessProbe": "/health/ready"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"]["path"] == path
        assert ports[container[probe]["httpGet"]["port"]] == port
        assert container[probe]["failureThreshold"] >= 2, "one blip is no failure"
    settings, _ = rendered.environment(component)
    assert settings["TRUNKLINE_PORT" if component == "api" else "TRUNKLINE_WORKER_PORT"] == str(port)
    assert settings["TRUNKLINE_METRICS_PORT"] == str(ports["metrics"])


def test_a_pod_may_finish_what_it_began(rendered: Any) -> None:
    for component in LONG_RUNNING:
        pre_stop = rendered.containers()[component].get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})
        grace = rendered.pods()[component]["spec"]["terminationGracePeriodSeconds"]
        assert grace > pre_stop["sleep"]["seconds"] + DRAIN_SECONDS
    assert rendered.containers()["api"]["lifecycle"]["preStop"]["sleep"]["seconds"] >= 5


def test_selectors_select_their_own_pods_only(rendered: Any) -> None:
    labels = {component: pod["metadata"]["labels"] for component, pod in rendered.pods().items()}
    for selecting in rendered.kind("Deployment", "PodDisruptionBudget"):
        component = selecting["metadata"]["labels"]["app.kubernetes.io/component"]
        assert [each for each in labels if fits(selecting["spec"]["selector"], labels[each])] == [component]
    for service in rendered.kind("Service"):
        component = service["metadata"]["labels"]["app.kubernetes.io/component"]
        assert [each for each in labels if fits({"matchLabels": service["spec"]["selector"]}, labels[each])] == [component]
        names = {port["name"] for port in rendered.containers()[component]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_pods_spread_over_hosts_and_zones(rendered: Any) -> None:
    for component in LONG_RUNNING:
        pod = rendered.pods()[component]
        constraints = pod["spec"]["topologySpreadConstraints"]
        assert {each["topologyKey"] for each in constraints} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        assert all(fits(each["labelSelector"], pod["metadata"]["labels"]) for each in constraints)


def test_a_disruption_budget_lets_one_pod_go(rendered: Any) -> None:
    budgets = {each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"] for each in rendered.kind("PodDisruptionBudget")}
    assert budgets.keys() == set(LONG_RUNNING)
    assert all(each["maxUnavailable"] == 1 and "minAvailable" not in each for each in budgets.values())

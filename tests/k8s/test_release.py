"""What a release and a cluster's automation rely on: names, replicas, schedules, networks, connections."""

from typing import Any

NEEDED_CONNECTIONS = 250  # what k8s/README.md asks of PostgreSQL
MIGRATION_CONNECTIONS = 4


def test_all_pods_run_one_image_with_a_fixed_version(rendered: Any) -> None:
    (image,) = {container["image"] for container in rendered.containers().values()}
    assert "/" in image, "the overlay names where the image is"
    tag = image.rpartition(":")[2]
    assert tag not in ("", "latest", image)


def test_the_migration_is_named_after_its_release(rendered: Any) -> None:
    (job,) = rendered.kind("Job")
    tag = rendered.containers()["migrate"]["image"].rpartition(":")[2]
    assert job["metadata"]["name"] == f"trunkline-migrate-{tag.replace('.', '-')}"


def test_the_migration_does_not_change_within_a_release(rendered: Any) -> None:
    container = rendered.containers()["migrate"]
    assert "envFrom" not in container, "a Job cannot change, and the settings' name does with their content"
    assert not any("configMapKeyRef" in each.get("valueFrom", {}) for each in container["env"])


def test_the_first_step_of_a_release_brings_what_the_migration_needs(rendered: Any) -> None:
    chosen = {
        (each["kind"], each["metadata"]["name"])
        for each in rendered.objects
        if each["metadata"].get("labels", {}).get("app.kubernetes.io/component") in ("foundation", "migrate")
    }
    (job,) = rendered.kind("Job")
    assert {
        ("Namespace", "trunkline"),
        ("NetworkPolicy", "default-deny"),
        ("NetworkPolicy", "allow-dns"),
        ("NetworkPolicy", "trunkline-migrate"),
        ("ServiceAccount", "trunkline-migrate"),
        ("Job", job["metadata"]["name"]),
    } == chosen


def test_the_autoscaler_alone_counts_the_pods_it_scales(rendered: Any) -> None:
    scaled = [each["spec"]["scaleTargetRef"] for each in rendered.kind("HorizontalPodAutoscaler")]
    assert scaled == [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "trunkline-api"}]
    assert "replicas" not in rendered.named("Deployment", "trunkline-api")["spec"]
    (autoscaler,) = rendered.kind("HorizontalPodAutoscaler")
    assert autoscaler["spec"]["minReplicas"] >= 2
    assert rendered.named("Deployment", "trunkline-worker")["spec"]["replicas"] >= 2


def test_clean_up_by_hand_waits_since_the_worker_does_it_and_never_runs_beside_itself(rendered: Any) -> None:
    (cron,) = rendered.kind("CronJob")
    spec, job = cron["spec"], cron["spec"]["jobTemplate"]["spec"]
    assert spec["suspend"] is True
    minute, *rest = spec["schedule"].split()
    assert minute.isdigit()
    assert rest == ["*"] * 4
    assert spec["timeZone"] == "Etc/UTC"
    assert spec["concurrencyPolicy"] == "Forbid"
    assert job["activeDeadlineSeconds"] < 3600
    assert spec["startingDeadlineSeconds"] + job["activeDeadlineSeconds"] < 3600, "a late start may not run into the next hour"
    assert len(cron["metadata"]["name"]) <= 52


def test_jobs_end(rendered: Any) -> None:
    (job,) = rendered.kind("Job")
    (cron,) = rendered.kind("CronJob")
    for spec in (job["spec"], cron["spec"]["jobTemplate"]["spec"]):
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        assert spec["backoffLimit"] <= 2
        assert {"activeDeadlineSeconds", "ttlSecondsAfterFinished"} <= spec.keys()


def test_the_ingress_leads_to_the_api_over_tls(rendered: Any) -> None:
    (ingress,) = rendered.kind("Ingress")
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = rendered.named("Service", path["backend"]["service"]["name"])
    assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]} - {"metrics"}
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    settings, _ = rendered.environment("api")
    assert settings["TRUNKLINE_PUBLIC_BASE_URL"] == f"https://{rule['host']}"


def test_what_no_policy_allows_is_denied(rendered: Any) -> None:
    assert rendered.named("NetworkPolicy", "default-deny")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    allowed = {each["metadata"]["name"]: each["spec"] for each in rendered.kind("NetworkPolicy")}
    assert allowed.keys() == {"default-deny", "allow-dns", *(f"trunkline-{component}" for component in rendered.pods())}
    for component in rendered.pods():
        selector = allowed[f"trunkline-{component}"]["podSelector"]["matchLabels"]
        assert selector["app.kubernetes.io/component"] == component
    assert {port["port"] for rule in allowed["trunkline-migrate"]["egress"] for port in rule["ports"]} == {5432}
    assert all("ingress" not in allowed[f"trunkline-{component}"] for component in ("migrate", "cleanup"))


def test_no_pod_calls_the_web_inside_the_cluster(rendered: Any) -> None:
    private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"}
    rules = [rule for policy in rendered.kind("NetworkPolicy") for rule in policy["spec"].get("egress", [])]
    web = [rule for rule in rules if {"port": 443} in rule["ports"]]
    assert len(web) == 3
    for rule in web:
        assert [each["ipBlock"]["cidr"] for each in rule["to"]] == ["0.0.0.0/0", "::/0"]
        assert private <= set(rule["to"][0]["ipBlock"]["except"])


def test_every_pod_at_once_stays_within_the_connections_asked_for(rendered: Any) -> None:
    (autoscaler,) = rendered.kind("HorizontalPodAutoscaler")
    replicas = {"trunkline-api": autoscaler["spec"]["maxReplicas"]} | {
        each["metadata"]["name"]: each["spec"]["replicas"] for each in rendered.kind("Deployment") if "replicas" in each["spec"]
    }
    surges = sum(each["spec"]["strategy"]["rollingUpdate"]["maxSurge"] for each in rendered.kind("Deployment"))
    settings, _ = rendered.environment("api")
    processes = sum(replicas.values()) + surges + len(list(rendered.kind("CronJob")))
    assert processes * int(settings["TRUNKLINE_DATABASE_CONNECTIONS"]) + MIGRATION_CONNECTIONS <= NEEDED_CONNECTIONS

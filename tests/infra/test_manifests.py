"""The manifests render, are valid for Kubernetes, and give no pod more than it needs."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES_VERSIONS = ("1.33", "1.36")
SECONDS_TO_START = 60


@pytest.fixture(scope="module", params=["base", "overlays/example"])
def rendered(request):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on PATH; it renders the manifests (`kubectl kustomize`)")
    done = subprocess.run(
        [kubectl, "kustomize", str(ROOT / "infra" / request.param)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_rendered_object_is_valid_to_the_last_field(rendered, version):
    assert len(rendered) >= 10
    for document in rendered:
        kubernetes_validate.validate(document, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_refused():
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}, "automount": False}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(account, KUBERNETES_VERSIONS[-1], strict=True)


def test_every_object_stands_in_the_namespace(rendered):
    for document in rendered:
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == "phenoscale", document["metadata"]["name"]


def test_no_account_may_do_everything_or_read_secrets(rendered):
    for role in (document for document in rendered if document["kind"] in ("Role", "ClusterRole")):
        assert role["kind"] == "Role", "the platform needs nothing outside its namespace"
        for rule in role["rules"]:
            granted = [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
            assert "*" not in granted
            assert "secrets" not in rule["resources"]


def test_only_the_pipeline_runner_gets_a_token(rendered):
    accounts = {d["metadata"]["name"]: d for d in rendered if d["kind"] == "ServiceAccount"}
    with_token = {
        name for name, account in accounts.items() if account.get("automountServiceAccountToken", True)
    }
    assert with_token == {"pipeline-runner"}


def test_every_pod_runs_without_root_and_without_rights(rendered):
    for document in (d for d in rendered if d["kind"] == "Deployment"):
        pod = document["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_every_volume_and_account_that_a_pod_names_exists(rendered):
    names = {(d["kind"], d["metadata"]["name"]) for d in rendered}
    for document in (d for d in rendered if d["kind"] == "Deployment"):
        pod = document["spec"]["template"]["spec"]
        assert ("ServiceAccount", pod["serviceAccountName"]) in names
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names


def test_images_of_the_manifests_are_built_by_a_dockerfile():
    files = {path.name.removesuffix(".Dockerfile") for path in (ROOT / "dockerfiles").glob("*.Dockerfile")}
    manifest = (ROOT / "infra" / "base" / "mlflow.yaml").read_text()
    assert "phenoscale/mlflow-server" in manifest
    assert files == {"worker", "train", "mlflow"}


@pytest.mark.parametrize("name", ["worker", "train", "mlflow"])
def test_an_image_runs_as_a_numbered_user_with_pinned_packages(name):
    text = (ROOT / "dockerfiles" / f"{name}.Dockerfile").read_text()
    last_stage = text[text.rindex("\nFROM ") :]
    assert "USER 10001" in last_stage
    assert "--constraint" in text
    assert "ARG BASE_IMAGE" in text


def _mlflow_arguments(folder, port):
    documents = yaml.safe_load_all((ROOT / "infra" / "base" / "mlflow.yaml").read_text())
    deployment = next(d for d in documents if d["kind"] == "Deployment")
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return [
        argument.replace("/data", str(folder))
        .replace("--port=5000", f"--port={port}")
        .replace("0.0.0.0", "127.0.0.1")
        for argument in arguments
    ]


def _answer(port, host):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default",
        headers={"Host": host},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_the_deployed_mlflow_answers_to_its_names_in_the_cluster_and_to_no_others(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *_mlflow_arguments(tmp_path, port)], stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + SECONDS_TO_START
            while time.monotonic() < deadline:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                    break
                except OSError:
                    time.sleep(0.3)
            answers = {
                host: _answer(port, host)
                for host in (
                    "mlflow:5000",
                    "mlflow.phenoscale.svc:5000",
                    "mlflow.phenoscale.svc.cluster.local:5000",
                    "evil.example.org",
                )
            }
        finally:
            server.terminate()
            server.wait()
    assert list(answers.values()) == [200, 200, 200, 403], ((tmp_path / "server.log").read_text(), answers)

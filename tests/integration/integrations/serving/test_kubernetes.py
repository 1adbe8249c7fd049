"""The manifests and the Dockerfile in docs/kubernetes: valid by Kubernetes' schemas, and safe; their commands exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml

from tfimm_resolver import settings
from tfimm_resolver.cli.app import cli
from tfimm_resolver.cli.commands.fetch import STORAGE_PREFIX
from tfimm_resolver.cli.output import Output
from tools.reference.variables import make_page

REPOSITORY = Path(__file__).parents[4]
FOLDER = REPOSITORY / "docs" / "kubernetes"
DOCKERFILE = FOLDER / "Dockerfile"
IMAGE = "registry.example/tfimm-resolver:0.2.0"

STORAGE_CONTAINER = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "serving.kserve.io/v1alpha1"},
        "kind": {"const": "ClusterStorageContainer"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["container", "supportedUriFormats"],
            "additionalProperties": False,
            "properties": {
                "container": {"type": "object", "required": ["name", "image"]},
                "supportedUriFormats": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "minProperties": 1,
                        "additionalProperties": False,
                        "properties": {"prefix": {"type": "string"}, "regex": {"type": "string"}},
                    },
                },
                "workloadType": {"enum": ["initContainer", "localModelDownloadJob"]},
                "supportsMultiModelDownload": {"type": "boolean"},
            },
        },
    },
}
"""What KServe's API reference says of a ClusterStorageContainer."""


def read_manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object with the name of its file."""
    for path in sorted(FOLDER.glob("*.yaml")):
        for found in yaml.safe_load_all(path.read_text()):
            yield path.name, found


MANIFESTS = [pytest.param(found, id=f"{name}-{found['kind']}") for name, found in read_manifests()]
STORAGE = next(found for _, found in read_manifests() if found["kind"] == "ClusterStorageContainer")


def make_pod(container: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": {"containers": [container]}}


def list_pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the specification of each pod, with the name of its file; of the storage container one that KServe would make."""
    for name, found in read_manifests():
        if found is not STORAGE and "template" in found.get("spec", {}):
            yield name, found["spec"]["template"]["spec"]
    yield "cluster-storage-container.yaml", make_pod(STORAGE["spec"]["container"])["spec"]


OURS = [
    pytest.param(name, pod, container, id=f"{name}-{container['name']}")
    for name, pod in list_pods()
    for container in [*pod.get("initContainers", ()), *pod["containers"]]
    if container["image"] == IMAGE
]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_is_valid_by_its_schema(manifest: dict[str, Any]) -> None:
    if manifest is STORAGE or manifest["kind"] == STORAGE["kind"]:
        jsonschema.validate(manifest, STORAGE_CONTAINER)
        manifest = make_pod(manifest["spec"]["container"])
    kubernetes_validate.validate(manifest, "1.31", strict=True)


@pytest.mark.parametrize("change", [("replicas", "two"), ("unknown", 1), ("selector", None)], ids=["type", "name", "missing"])
def test_a_wrong_manifest_is_noticed(change: tuple[str, object]) -> None:
    manifest = dict(next(found for _, found in read_manifests() if found["kind"] == "Deployment"))
    manifest["spec"] = {**manifest["spec"], change[0]: change[1]}
    if change[1] is None:
        del manifest["spec"][change[0]]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, "1.31", strict=True)


def test_kserve_finds_its_arguments_free_and_a_prefix_of_our_own() -> None:
    container = STORAGE["spec"]["container"]
    assert "args" not in container and container["name"] == "storage-initializer"
    assert [one["prefix"] for one in STORAGE["spec"]["supportedUriFormats"]] == [STORAGE_PREFIX]
    assert STORAGE_PREFIX not in ("http", "https", "gs://", "s3://", "pvc://", "hf://", "hdfs://", "oci://", "ms://")


@pytest.mark.parametrize(("name", "pod", "container"), OURS)
def test_a_container_of_ours_is_restricted(name: str, pod: dict[str, Any], container: dict[str, Any]) -> None:
    security = {**pod.get("securityContext", {}), **container["securityContext"]}
    assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True, name
    assert security["capabilities"]["drop"] == ["ALL"] and not security.get("privileged")
    if container["name"] == "own-cache":
        assert security["runAsUser"] == 0 and security["capabilities"]["add"] == ["CHOWN"]
    else:
        assert security["runAsNonRoot"] is True and security.get("runAsUser", 1) != 0
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert container["resources"]["limits"]["memory"] in ("64Mi", "256Mi")


@pytest.mark.parametrize(("name", "pod", "container"), OURS)
def test_paths_are_in_volumes_since_the_root_is_read_only(name: str, pod: dict[str, Any], container: dict[str, Any]) -> None:
    mounts = [mount["mountPath"] for mount in container.get("volumeMounts", ())] or ["/mnt/models"]  # which KServe mounts
    paths = [one["value"] for one in container.get("env", ()) if one["value"].startswith("/")]
    paths += [word for word in container["command"] + container.get("args", []) if word.startswith("/")]
    assert paths, name
    for path in paths:
        assert any(f"{path}/".startswith(f"{mount}/") for mount in mounts), (name, path)
    volumes = {volume["name"] for volume in pod.get("volumes", ())}
    assert {mount["name"] for mount in container.get("volumeMounts", ())} <= volumes


def list_commands(container: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the command lines of tfimm-resolver that a container runs."""
    words = container["command"] + container.get("args", [])
    if words[0] == "tfimm-resolver":
        yield words
    for line in words[-1].splitlines():
        if (found := re.match(r"\s*(tfimm-resolver [\w =-]+)", line)) is not None:
            yield found[1].split()


@pytest.mark.parametrize(("name", "pod", "container"), OURS)
def test_commands_and_variables_exist(name: str, pod: dict[str, Any], container: dict[str, Any]) -> None:
    known = make_page()
    for variable in container.get("env", ()):
        assert f"`{variable['name']}`" in known, variable
    commands = [*list_commands(container)]
    assert commands or container["name"] == "own-cache", name
    for words in commands:
        is_storage = container["name"] == STORAGE["spec"]["container"]["name"]
        parse([*words[1:], *(["tfimm+https://models.example/m/1", "/mnt/models"] * is_storage)])  # which KServe adds


def parse(words: list[str]) -> None:
    """Parse a command line without running the command; raises click.UsageError for a wrong one."""
    command = cli.get_command(click.Context(cli), next(word for word in words if not word.startswith("-")))
    assert command is not None, words
    name = words.index(str(command.name))
    cli.make_context("tfimm-resolver", [*words[:name], str(command.name)], obj=Output())
    with click.Context(cli, obj=Output()) as parent:
        command.make_context(command.name, words[name + 1 :], parent=parent)


def test_a_wrong_command_line_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse(["fetch", "--layout=other", "https://models.example/m/1", "/mnt/models"])


def test_the_dockerfile_passes_its_linter() -> None:
    linter = shutil.which("hadolint", path=Path(sys.executable).parent) or "hadolint"
    job = subprocess.run([linter, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (job.returncode, job.stdout + job.stderr) == (0, "")


def test_the_image_is_built_in_two_stages_and_runs_as_a_user_without_tensorflow() -> None:
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    stages = [line for line in lines if line.startswith("FROM ")]
    last = lines[lines.index(stages[-1]) :]
    assert len(stages) == 2 and not any(line.startswith(("RUN pip", "COPY .")) for line in last)
    users = [line.split()[1] for line in last if line.startswith("USER ")]
    assert users == ["10001:10001"] and 'ENTRYPOINT ["tfimm-resolver"]' in last
    extras = next(line for line in lines if line.startswith("ARG EXTRAS=")).partition("=")[2].split(",")
    assert set(extras) <= {"gs", "s3", "hf"}


def test_what_the_dockerfile_copies_is_enough_to_build_the_package(tmp_path: Path) -> None:
    for line in DOCKERFILE.read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                path = REPOSITORY / source
                if path.is_dir():
                    shutil.copytree(path, tmp_path / "src" / source, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    (tmp_path / "src").mkdir(exist_ok=True)
                    shutil.copy(path, tmp_path / "src" / source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        "wheels",
        "./src",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert [*(tmp_path / "wheels").glob("tfimm_resolver-*.whl")]


def test_the_limits_of_the_node_cache_can_be_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    for _, pod in list_pods():
        for container in pod["containers"]:
            for variable in container.get("env", ()):
                monkeypatch.setenv(variable["name"], variable["value"])
    assert settings.cache_limits().is_limited

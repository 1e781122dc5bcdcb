"""The files that put a cluster on machines: valid by the schemas of those who read them, and by Ray Serve's own.

The schemas are copies, with their source inside. Where they let unknown names through, so that a misspelt one is dropped
without a word, they are read strictly here.
"""

import gzip
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]

from gigarank.cluster.options import APPLICATION, options_from
from gigarank.service.configuration import PREFIX, SETTINGS, settings_from

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "tests" / "golden" / "files" / "schemas"
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE, SERVICE = (yaml.safe_load((ROOT / "deploy" / name).read_text("utf-8")) for name in ("compose.yaml", "rayservice.yaml"))


def schema(name: str) -> Any:
    told = json.loads(gzip.decompress((SCHEMAS / f"{name}.json.gz").read_bytes()))
    assert told["licence"] == "Apache-2.0" and "github.com/" in told["source"]
    return told["schema"]


def strict(value: Any) -> Any:
    """A schema in which an object with named properties has no others."""
    if isinstance(value, list):
        return [strict(part) for part in value]
    if not isinstance(value, dict):
        return value
    made = {name: strict(part) for name, part in value.items()}
    free = "additionalProperties" in made or "x-kubernetes-preserve-unknown-fields" in made
    if isinstance(made.get("properties"), dict) and made.get("type") == "object" and not free:
        made["additionalProperties"] = False
    return made


def kubernetes(document: Any) -> None:
    """What the API server checks itself is not in the schema of a resource."""
    made = strict(schema("rayservice-v1"))
    made["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    jsonschema.Draft7Validator(made).validate(document)


def serve_config() -> Any:
    return yaml.safe_load(SERVICE["spec"]["serveConfigV2"])


def test_compose_s_schema_takes_the_file() -> None:
    jsonschema.Draft7Validator(schema("compose-spec")).validate(COMPOSE)


@pytest.mark.parametrize(("place", "value"), [("port", ["8000:8000"]), ("ports", 8000), ("depends_on", {"redis": {}})])
def test_compose_s_schema_finds_what_is_wrong(place: str, value: Any) -> None:
    wrong = deepcopy(COMPOSE)
    wrong["services"]["server"][place] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema("compose-spec")).validate(wrong)


def test_every_service_that_is_waited_for_says_when_it_is_well() -> None:
    services = COMPOSE["services"]
    waited = {name for service in services.values() for name in service.get("depends_on", {})}
    assert waited == {"postgres", "redis", "head"} and all("healthcheck" in services[name] for name in waited)
    volumes = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert volumes == set(COMPOSE["volumes"])


def test_the_server_s_settings_are_settings() -> None:
    environment = COMPOSE["services"]["server"]["environment"]
    known = {setting.variable for setting in SETTINGS} | {"GIGARANK_CACHE"}
    ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    assert ours and set(ours) <= known
    settings = settings_from({}, {name: value for name, value in ours.items() if name != "GIGARANK_CACHE"})
    assert settings.accounts and settings.cluster_max_replicas == 8 and settings.rate_limit_url == "redis://redis:6379"


def test_the_image_has_what_the_cluster_needs() -> None:
    built = COMPOSE["services"]["server"]["build"]["args"]["EXTRAS"]
    assert {"serve", "cluster", "postgres", "redis"} <= set(built.split(","))
    assert re.search(
        r"^ARG EXTRAS=serve,otel\nRUN pip install \"/src\[\$\{EXTRAS\}\]\"$", (ROOT / "Dockerfile").read_text(), re.M
    )


def test_kuberay_s_schema_takes_the_manifest() -> None:
    kubernetes(SERVICE)
    assert (SERVICE["apiVersion"], SERVICE["kind"]) == ("ray.io/v1", "RayService")


def test_kuberay_s_schema_finds_what_is_wrong() -> None:
    for path, value in (
        (("spec", "serveConfig"), "x"),
        (("spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "containers"), [{"image": "x"}]),
        (("spec", "rayClusterConfig", "workerGroupSpecs"), {"replicas": 1}),
        (("spec", "rayClusterConfig", "headGroupSpec", "rayStartParams"), {"num-cpus": 0}),
    ):
        wrong = deepcopy(SERVICE)
        place = wrong
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            kubernetes(wrong)


def test_ray_serve_takes_the_config_within_the_manifest() -> None:
    ray = pytest.importorskip("ray.serve.schema", reason="the cluster extra is not installed")
    config = ray.ServeDeploySchema.model_validate(serve_config())
    (application,) = config.applications
    assert (application.name, application.route_prefix) == (APPLICATION, None)
    client = pytest.importorskip("gigarank.cluster.application")
    module, _, function = application.import_path.partition(":")
    assert module == client.__name__ and callable(getattr(client, function))


def test_the_options_within_the_manifest_are_options() -> None:
    (application,) = serve_config()["applications"]
    options = options_from(application["args"])
    (workers,) = SERVICE["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (container,) = workers["template"]["spec"]["containers"]
    assert options.replicas.cpus == int(container["resources"]["limits"]["cpu"])
    assert options.replicas.most == workers["maxReplicas"] and options.preloaded()[0].pinned

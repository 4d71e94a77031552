"""The compose file runs the image it builds, with a volume, limits and no privileges."""

from typing import Any

import yaml

from tests.docker.dockerfile import final_image
from tests.helpers.checkout import ROOT

COMPOSE = ROOT / "server" / "compose.yaml"
SERVICE_KEYS = set(
    "image build ports volumes restart stop_grace_period read_only tmpfs cap_drop security_opt pids_limit "
    "ulimits deploy healthcheck logging environment env_file user init command entrypoint networks".split()
)
HEALTHCHECK_KEYS = {"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}


def _compose() -> dict[str, Any]:
    document = yaml.safe_load(COMPOSE.read_text())
    assert isinstance(document, dict)
    return document


def _service() -> dict[str, Any]:
    services = _compose()["services"]
    assert list(services) == ["nearfield"]
    service = services["nearfield"]
    assert isinstance(service, dict)
    return service


def test_every_key_is_one_compose_knows() -> None:
    assert set(_compose()) <= {"name", "services", "volumes", "networks", "configs", "secrets"}
    assert set(_service()) <= SERVICE_KEYS
    assert set(_service()["healthcheck"]) <= HEALTHCHECK_KEYS


def test_builds_from_the_checkout() -> None:
    context = (COMPOSE.parent / _service()["build"]["context"]).resolve()
    assert context == ROOT and (context / "Dockerfile").is_file()


def test_ports_and_volumes_meet_thefinal_image() -> None:
    image = final_image()
    (port,) = _service()["ports"]
    assert port.startswith("127.0.0.1:"), "an open port without a key is for this machine only"
    assert int(port.rsplit(":", 1)[1]) in image.ports
    targets = dict(reversed(volume.split(":")) for volume in _service()["volumes"])
    assert set(targets) == set(image.volumes)
    assert set(targets.values()) <= set(_compose()["volumes"])


def test_has_limits_and_no_privileges() -> None:
    service = _service()
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["pids_limit"] and service["ulimits"]["nofile"] >= 65_536
    assert service["cap_drop"] == ["ALL"] and service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service

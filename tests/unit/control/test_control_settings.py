import io
import json
import logging

import pytest
from fleetfit_operator.handlers import SpecChanges
from fleetfit_operator.settings import Settings, SettingsError
from fleetfit_operator.telemetry.logs import JsonFormatter


def test_settings_come_from_the_environment() -> None:
    settings = Settings.from_env(
        {"POD_NAME": "p", "POD_IP": "10.0.0.1", "FLEETFIT_METRICS_PORT": "9000", "FLEETFIT_RESYNC_S": "12"}
    )
    assert (settings.pod_name, settings.pod_ip, settings.metrics_port, settings.resync_s) == (
        "p",
        "10.0.0.1",
        9000,
        12.0,
    )


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"FLEETFIT_METRICS_PORT": "many"}, "FLEETFIT_METRICS_PORT"),
        ({"FLEETFIT_LOG_LEVEL": "loud"}, "FLEETFIT_LOG_LEVEL"),
        ({"FLEETFIT_LEASE_RENEW_S": "20"}, "renew < deadline < duration"),
    ],
)
def test_unusable_settings_are_named(env: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings.from_env(env)


def event(generation: int, *, deleting: bool = False) -> dict[str, object]:
    metadata: dict[str, object] = {"uid": "u", "generation": generation}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata}


def test_changes_of_status_are_no_news() -> None:
    changes = SpecChanges()
    assert changes.take(None, event(1))
    assert not changes.take("MODIFIED", event(1))
    assert changes.take("MODIFIED", event(2))
    assert changes.take("MODIFIED", event(2, deleting=True))
    assert changes.take("DELETED", event(2, deleting=True))
    assert changes.take("ADDED", event(2))


def test_a_log_line_is_one_json_object_with_keys_and_error() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("fleetfit_operator.tests")
    logger.addHandler(handler)
    try:
        raise ValueError("broken")
    except ValueError:
        logger.error("pass failed", exc_info=True, extra={"key": "apps/digits"})
    finally:
        logger.removeHandler(handler)
    entry = json.loads(stream.getvalue())
    assert (entry["message"], entry["key"], entry["error"], entry["level"]) == (
        "pass failed",
        "apps/digits",
        "broken",
        "error",
    )
    assert "ValueError" in entry["trace"]
    assert stream.getvalue().count("\n") == 1

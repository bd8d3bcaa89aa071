"""Settings: their sources in order, every problem at once, and nothing secret shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestration.service.settings import Settings, SettingsError, load_settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text('log_level = "debug"\nprobe_failures = 7\ntrusted_proxies = ["10.0.0.0/8"]\n')
    return path


def problems_of(**flags: object) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(flags)
    return caught.value.problems


def test_defaults_need_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/var/xdg")
    settings = load_settings()
    assert settings.grpc_listen == "127.0.0.1:50051"
    assert settings.data_dir == Path("/var/xdg/orchestration")
    assert settings.database_url == "sqlite+aiosqlite:////var/xdg/orchestration/orchestration.db"
    assert settings.source_of("grpc_listen") == "default"


def test_the_database_lies_in_the_data_dir_that_was_given(tmp_path: Path) -> None:
    assert load_settings({"data_dir": tmp_path}).database_url == f"sqlite+aiosqlite:///{tmp_path}/orchestration.db"


def test_flag_before_environment_before_file_before_default(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATION_LOG_LEVEL", "WARNING")
    from_environment = load_settings(config=config)
    assert (from_environment.log_level, from_environment.probe_failures) == ("warning", 7)
    assert from_environment.source_of("log_level") == "ORCHESTRATION_LOG_LEVEL"
    assert from_environment.source_of("probe_failures") == str(config)
    from_flag = load_settings({"log_level": "error", "probe_failures": None}, config=config)
    assert (from_flag.log_level, from_flag.probe_failures) == ("error", 7)
    assert from_flag.source_of("log_level") == "--log-level"


def test_a_variable_names_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATION_CONFIG", str(config))
    assert load_settings().trusted_proxies == ("10.0.0.0/8",)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ORCHESTRATION_API_KEYS", ""), ("ORCHESTRATION_API_KEYS__CI", " "), ("ORCHESTRATION_API_KEYS", "{}")],
)
def test_keys_that_did_not_arrive_do_not_open_the_gateway(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that was not mounted is an empty variable."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match="holds no key"):
        load_settings()


def test_lists_are_comma_separated_and_empty_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATION_CORS_ORIGINS", "https://a.example, http://b.example:3000")
    monkeypatch.setenv("ORCHESTRATION_LOG_LEVEL", "")
    settings = load_settings()
    assert settings.cors_origins == ("https://a.example", "http://b.example:3000")
    assert settings.log_level == "info"


def test_providers_of_file_and_environment_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[providers.ray]\naddress = "http://ray:8265"\ntoken = "old"\n')
    monkeypatch.setenv("ORCHESTRATION_PROVIDERS__RAY__TOKEN", "new")
    assert load_settings(config=path).providers == {"ray": {"address": "http://ray:8265", "token": "new"}}


def test_every_problem_is_told_at_once_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.toml"
    path.write_text("probe_failure = 3\nbackoff_max_s = 0.5\n")
    monkeypatch.setenv("ORCHESTRATION_LEASE_TTL", "3")
    monkeypatch.setenv("ORCHESTRATION_BRAKE_FRACTION", "2")
    with pytest.raises(SettingsError) as caught:
        load_settings({"grpc_listen": "nowhere"}, config=path)
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    assert f"probe_failure (from {path}): there is no such knob; did you mean probe_failures?" in text
    assert "ORCHESTRATION_LEASE_TTL (from the environment)" in text
    assert "did you mean ORCHESTRATION_LEASE_TTL_S" in text
    assert "brake_fraction = '2' (from ORCHESTRATION_BRAKE_FRACTION): Input should be less than or equal to 1" in text
    assert "grpc_listen = 'nowhere' (from --grpc-listen): has no port" in text
    assert f"backoff_max_s = 0.5 (from {path}): must not be less than backoff_initial_s, which is 1.0" in text


def test_a_default_that_another_value_contradicts_is_named() -> None:
    (problem,) = problems_of(backoff_initial_s=900.0)
    assert problem == "backoff_max_s = 300.0 (from default): must not be less than backoff_initial_s, which is 900.0"


@pytest.mark.parametrize(
    ("knob", "value", "why"),
    [
        ("database_url", "mysql://h/d", "expected sqlite+aiosqlite"),
        ("database_url", "/tmp/x.db", "is no database that is supported"),
        ("log_level", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("cors_origins", ("https://a.example/path",), "without a path"),
        ("trusted_proxies", ("10.0.0.1/8",), "has host bits set"),
        ("max_deadline_s", 1.0, "must not be less than default_deadline_s"),
        ("node_lost_intervals", 1.2, "must not be less than node_suspect_intervals"),
        ("probe_interval_s", float("nan"), "finite number"),
        ("probe_failures", 0, "greater than or equal to 1"),
        ("data_dir", 3, "not a valid path"),
    ],
)
def test_a_wrong_value_is_refused(knob: str, value: object, why: str) -> None:
    (problem,) = problems_of(**{knob: value})
    assert problem.startswith(f"{knob} = ")
    assert why in problem


@pytest.mark.parametrize("text", ["no such file", "= broken"])
def test_a_file_that_cannot_be_read_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    if text.startswith("="):
        path.write_text(text)
    with pytest.raises(SettingsError, match=str(path)):
        load_settings(config=path)


def test_tags_of_engine_processes_are_no_knobs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OWNER", "INSTANCE", "SUPERVISOR", "DEPLOYMENT_ID", "REPLICA_ID", "SERVER"):
        monkeypatch.setenv(f"ORCHESTRATION_{name}", "x")
    load_settings()


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://h/d", "postgresql+asyncpg://h/d"),
        ("sqlite:////tmp/x.db", "sqlite+aiosqlite:////tmp/x.db"),
    ],
)
def test_the_database_driver_is_filled_in(given: str, stored: str) -> None:
    assert load_settings({"database_url": given}).database_url == stored


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@host/db",
        "postgresql://user:a:s3cret@host/db",
        "postgresql://user:s3cret@x@host/db",
        "postgresql://host/db?password=s3cret&sslmode=require",
    ],
)
def test_no_secret_is_shown(url: str) -> None:
    settings = Settings(database_url=url, providers={"nosana": {"api_key": "s3cret"}})
    shown = json.dumps(settings.public_dump())
    assert "s3cret" not in shown
    assert "host" in shown
    assert "api_key" in shown


def test_no_secret_is_shown_in_an_error() -> None:
    (problem,) = problems_of(database_url="mysql://user:s3cret@host/db")
    assert "s3cret" not in problem
    assert "mysql://user:********@host/db" in problem


def test_a_wrong_provider_value_is_not_shown() -> None:
    problems = problems_of(providers={"nosana": {"api_key": 5}})
    assert problems[0].startswith("providers.nosana.api_key = '********'")


def test_settings_cannot_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(load_settings(), "log_level", "debug")  # noqa: B010 (the type checker forbids it too)

"""The settings: defaults, what is read, and messages that name the variable."""

from pathlib import Path

import pytest

from metering import config
from metering.errors import ConfigurationError
from schemas.instants import DAY, HOUR


def test_empty_environment_gives_the_defaults() -> None:
    settings = config.read({})
    assert settings == config.Settings()
    assert (settings.topic, settings.grace, settings.late_window) == ("usage.events", HOUR, 35 * DAY)
    assert settings.kafka is None
    assert settings.postgres is None


def test_empty_variable_counts_as_unset() -> None:
    assert config.read({"METERING_KAFKA": "", "METERING_PORT": "  "}) == config.Settings()


def test_every_setting_is_read_into_its_field() -> None:
    texts = {
        "METERING_KAFKA": "a:9092,b:9092",
        "METERING_POSTGRES": "postgres://u:p@db:5432/m",
        "METERING_TOPIC": "t.x",
        "METERING_PARTITIONS": "3",
        "METERING_GRACE": "2h",
        "METERING_LATE_WINDOW": "4y",
        "METERING_HOST": "0.0.0.0",  # noqa: S104 - a text, nothing listens
        "METERING_PORT": "0",
        "METERING_METRICS_PORT": "9",
        "METERING_ARCHIVE": "s3://bucket/events",
        "METERING_DATA_DIR": "d",
        "METERING_BOOTSTRAP_KEY": "k" * 16,
        "METERING_LOG_FORMAT": "JSON",
        "METERING_LOG_LEVEL": "debug",
    }
    assert texts.keys() == {setting.name for setting in config.SETTINGS}
    settings = config.read(texts)
    default = config.Settings()
    for setting in config.SETTINGS:
        assert getattr(settings, setting.field) != getattr(default, setting.field), setting.name
    assert settings.late_window == 4 * 365 * DAY
    assert settings.data_dir == Path("d")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("METERING_KAFKA", "localhost"),
        ("METERING_PARTITIONS", "0"),
        ("METERING_PARTITIONS", "２"),
        ("METERING_GRACE", "1 hour"),
        ("METERING_LATE_WINDOW", "1s"),
        ("METERING_PORT", "65536"),
        ("METERING_LOG_LEVEL", "loud"),
        ("METERING_TOPIC", "a b"),
    ],
    ids=["kafka", "zero", "wide-digit", "grace", "window", "port", "level", "topic"],
)
def test_wrong_value_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}.*"):
        config.read({name: text})


def test_all_wrong_variables_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.read({"METERING_PORT": "x", "METERING_GRACE": "y"})
    assert "METERING_PORT" in str(caught.value)
    assert "METERING_GRACE" in str(caught.value)


def test_misspelt_variable_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match="did you mean METERING_KAFKA"):
        config.read({"METERING_KAFAK": "a:1"})


@pytest.mark.parametrize("name", ["METERING_POSTGRES", "METERING_BOOTSTRAP_KEY"])
def test_wrong_secret_is_not_repeated(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.read({name: "hush hush"})
    assert name in str(caught.value)
    assert "hush" not in str(caught.value)

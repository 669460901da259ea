"""The configuration from the environment."""

import base64

import pytest

from app.settings import (
    DEVELOPMENT_ENCRYPTION_KEY,
    DEVELOPMENT_JWT_KEY,
    ConfigurationError,
    get_settings,
)
from tests.fixtures import Configure

SECRET = "s3cr3t"
URL = f"postgresql+asyncpg://ada:{SECRET}@db.example/app"
JWT_KEY = "a key that is long enough for HS256"
ENCRYPTION_KEY = base64.urlsafe_b64encode(b"a key of exactly thirty-two byte").decode()
PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": URL,
    "JWT_KEY": JWT_KEY,
    "ENCRYPTION_KEY": ENCRYPTION_KEY,
    "PUBLIC_URL": "https://app.example",
}


def test_development_starts_with_a_database_alone(configure: Configure) -> None:
    """In development the database's URL is the one variable that must be set."""
    configure(ENVIRONMENT=None, DATABASE_URL=URL)

    settings = get_settings()

    assert settings.environment == "development"
    assert settings.public_url is None
    assert settings.oauth_clients == {}
    assert settings.sandbox_enabled


def test_missing_variable_is_named(configure: Configure) -> None:
    """The error says which variable is missing and what it should look like."""
    configure(DATABASE_URL=None)

    with pytest.raises(ConfigurationError, match=r"DATABASE_URL: Field required \(expected: postgresql"):
        get_settings()


def test_empty_variable_counts_as_missing(configure: Configure) -> None:
    """An empty variable is the same as none."""
    configure(DATABASE_URL="", ACCESS_TOKEN_LIFETIME="")

    with pytest.raises(ConfigurationError, match="DATABASE_URL: Field required") as caught:
        get_settings()
    assert "ACCESS_TOKEN_LIFETIME" not in str(caught.value)


def test_every_fault_is_listed(configure: Configure) -> None:
    """One error tells all that is wrong with the environment."""
    configure(DATABASE_URL=None, ENVIRONMENT="moon", OAUTH_TIMEOUT="0", JWT_KEY="short")

    with pytest.raises(ConfigurationError) as caught:
        get_settings()

    lines = str(caught.value).splitlines()[1:]
    assert {line.strip().partition(":")[0] for line in lines} == {
        "DATABASE_URL",
        "ENVIRONMENT",
        "OAUTH_TIMEOUT",
        "JWT_KEY",
    }


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("DATABASE_URL", f"postgresql://ada:{SECRET}@db/app", "the driver must be postgresql.asyncpg"),
        ("DATABASE_URL", f"mysql://ada:{SECRET}@db/app", "the driver must be postgresql.asyncpg, not mysql"),
        ("DATABASE_URL", f"not a URL {SECRET}", "not a database URL"),
        ("DATABASE_URL", f"postgresql+asyncpg://ada:{SECRET}@db:port/app", "not a database URL"),
        ("JWT_KEY", SECRET, "at least 32"),
        ("ENCRYPTION_KEY", SECRET, "each key must be 32 bytes in URL-safe base64"),
        ("ENCRYPTION_KEY", f"{ENCRYPTION_KEY},", "each key must be 32 bytes in URL-safe base64"),
        ("ACCESS_TOKEN_LIFETIME", "-5", "greater than 0"),
        ("ARGON2_TIME_COST", "many", "valid integer"),
        ("PUBLIC_URL", f"javascript:{SECRET}", "URL"),
        ("OAUTH_CLIENTS", f'{{"schwab": {{"client_secret": "{SECRET}"}}}}', "OAUTH_CLIENTS.schwab.client_id"),
        ("OAUTH_CLIENTS", f"{{{SECRET}", "oauth_clients"),
    ],
)
def test_wrong_value_is_named_but_not_shown(
    configure: Configure, variable: str, value: str, complaint: str
) -> None:
    """The error names the variable and the rule that it breaks, and never quotes the value."""
    configure(DATABASE_URL=URL)
    configure(**{variable: value})

    with pytest.raises(ConfigurationError, match=complaint) as caught:
        get_settings()

    assert variable in str(caught.value).upper()
    assert SECRET not in str(caught.value)
    # The traceback, too, is printed when the service does not start.
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JWT_KEY", None),
        ("JWT_KEY", DEVELOPMENT_JWT_KEY),
        ("ENCRYPTION_KEY", None),
        ("ENCRYPTION_KEY", f"{ENCRYPTION_KEY},{DEVELOPMENT_ENCRYPTION_KEY}"),
        ("PUBLIC_URL", None),
    ],
)
def test_development_values_are_refused_where_strangers_come(
    configure: Configure, environment: str, variable: str, value: str | None
) -> None:
    """Staging and production need their own keys and public URL."""
    configure(**PRODUCTION | {"ENVIRONMENT": environment, variable: value})

    with pytest.raises(ConfigurationError, match=f"{environment} needs its own {variable}$"):
        get_settings()


def test_production_with_its_own_keys(configure: Configure) -> None:
    """With its own keys production starts, and has no sandbox."""
    configure(**PRODUCTION)

    assert not get_settings().sandbox_enabled


def test_settings_do_not_show_secrets(configure: Configure) -> None:
    """Printing the settings prints no password, no key and no client secret."""
    clients = f'{{"schwab": {{"client_id": "us", "client_secret": "{SECRET}"}}}}'
    configure(**PRODUCTION, OAUTH_CLIENTS=clients)

    text = repr(get_settings())

    assert "schwab" in text
    for secret in (SECRET, JWT_KEY, ENCRYPTION_KEY):
        assert secret not in text


def test_settings_are_read_once_and_frozen(configure: Configure) -> None:
    """The settings are one object that nothing can change."""
    configure(**PRODUCTION)
    settings = get_settings()

    assert get_settings() is settings
    with pytest.raises(ValueError, match="frozen"):
        settings.environment = "test"


def test_sync_url_differs_in_the_driver_alone(configure: Configure) -> None:
    """The migrations' URL is the service's with psycopg, and `ssl` spelled as psycopg spells it."""
    configure(DATABASE_URL="postgresql+asyncpg://ada:p%40ss@db:5433/app?ssl=require&application_name=x")

    assert get_settings().sync_database_url.render_as_string(hide_password=False) == (
        "postgresql+psycopg://ada:p%40ss@db:5433/app?application_name=x&sslmode=require"
    )

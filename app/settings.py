"""The service's configuration, read from the environment and from nowhere else."""

import base64
from functools import cache
from typing import Literal, Self

from cryptography.fernet import Fernet
from pydantic import (
    AnyHttpUrl,
    BaseModel,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

ASYNC_DRIVER = "postgresql+asyncpg"
SYNC_DRIVER = "postgresql+psycopg"

# Good enough to start at once on a developer's machine, and refused wherever strangers reach the service.
DEVELOPMENT_JWT_KEY = "development-only-key-for-signing-tokens"
DEVELOPMENT_ENCRYPTION_KEY = base64.urlsafe_b64encode(b"development-only-encryption-key!").decode()


class ConfigurationError(RuntimeError):
    """The environment lacks a variable or holds a wrong one; the message names each."""


class OAuthClient(BaseModel):
    """What this service is to one provider: the credentials that the provider gave it."""

    client_id: str
    client_secret: SecretStr


class Settings(BaseSettings):
    """One field for each environment variable of the same name, in upper case. Durations are in seconds."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,  # an error about a secret must not print it
        validate_default=True,
    )

    environment: Literal["development", "test", "staging", "production"] = "development"
    database_url: SecretStr = Field(description=f"{ASYNC_DRIVER}://user:password@host/database")

    jwt_key: SecretStr = Field(default=SecretStr(DEVELOPMENT_JWT_KEY), min_length=32)
    encryption_key: SecretStr = Field(
        default=SecretStr(DEVELOPMENT_ENCRYPTION_KEY),
        description="Fernet keys, separated by commas: the first encrypts, all of them decrypt.",
    )
    access_token_lifetime: PositiveInt = 30 * 60

    # argon2-cffi's own defaults: RFC 9106, the low-memory profile. Memory in KiB.
    argon2_time_cost: PositiveInt = 3
    argon2_memory_cost: PositiveInt = 64 * 1024
    argon2_parallelism: PositiveInt = 4
    # Hashes at the same time, each with that memory, and how many may wait for their turn.
    argon2_workers: PositiveInt = 4
    argon2_queue: NonNegativeInt = 64

    # Logins and registrations from one client's address, and with one e-mail address: so many at once, and as many again
    # in each period.
    attempts_per_address: PositiveInt = 30
    attempts_per_account: PositiveInt = 10
    attempts_period: PositiveFloat = 60.0

    max_body_size: PositiveInt = (
        64 * 1024
    )  # bytes; the largest that the service expects has some three thousand

    public_url: AnyHttpUrl | None = Field(
        default=None,
        description="Where browsers reach the service; without it, the host that the request names.",
    )
    oauth_clients: dict[str, OAuthClient] = Field(
        default={},
        description='JSON, by catalogue key: {"schwab": {"client_id": "…", "client_secret": "…"}}',
    )
    oauth_timeout: PositiveFloat = 10.0
    authorisation_lifetime: PositiveInt = 10 * 60
    sandbox_token_lifetime: PositiveInt = 30 * 60

    @field_validator("database_url")
    @classmethod
    def _is_for_asyncpg(cls, value: SecretStr) -> SecretStr:
        try:
            driver = make_url(value.get_secret_value()).drivername
        except (ArgumentError, ValueError):  # their messages could quote the password
            raise ValueError("not a database URL") from None
        if driver != ASYNC_DRIVER:
            raise ValueError(f"the driver must be {ASYNC_DRIVER}, not {driver}")
        return value

    @field_validator("encryption_key")
    @classmethod
    def _holds_fernet_keys(cls, value: SecretStr) -> SecretStr:
        for key in value.get_secret_value().split(","):
            try:
                Fernet(key)
            except ValueError:  # its message could quote the key
                raise ValueError("each key must be 32 bytes in URL-safe base64") from None
        return value

    @model_validator(mode="after")
    def _refuses_development_values(self) -> Self:
        if self.environment in ("development", "test"):
            return self
        defaults = {
            "JWT_KEY": self.jwt_key.get_secret_value() == DEVELOPMENT_JWT_KEY,
            "ENCRYPTION_KEY": DEVELOPMENT_ENCRYPTION_KEY in self.encryption_key.get_secret_value(),
            "PUBLIC_URL": self.public_url is None,
        }
        if missing := [name for name, is_default in defaults.items() if is_default]:
            raise ValueError(f"{self.environment} needs its own {', '.join(missing)}")
        return self

    @property
    def async_database_url(self) -> URL:
        """The database as the service reaches it (asyncpg)."""
        return make_url(self.database_url.get_secret_value())

    @property
    def sync_database_url(self) -> URL:
        """The same database for the migrations (psycopg), with the query parameters kept."""
        url = self.async_database_url.set(drivername=SYNC_DRIVER)
        # The one parameter that the two drivers spell differently.
        renamed = {"ssl": "sslmode"}
        return url.set(query={renamed.get(name, name): value for name, value in url.query.items()})

    @property
    def sandbox_enabled(self) -> bool:
        """Whether the pretend provider is on offer: everywhere but in production."""
        return self.environment != "production"


@cache
def get_settings() -> Settings:
    """Read the environment once.

    Raises ConfigurationError, which lists every variable that is missing or wrong, never with its value.
    """
    try:
        return Settings()  # type: ignore[call-arg]  # the environment fills the required fields
    except SettingsError as error:
        raise ConfigurationError(f"the environment variables are wrong: {error}") from None
    except ValidationError as error:
        faults = "".join(_line(fault) for fault in error.errors(include_input=False, include_url=False))
        raise ConfigurationError(f"the environment variables are incomplete or wrong:{faults}") from None


def _line(fault: ErrorDetails) -> str:
    name, *path = fault["loc"] or ("environment",)
    hint = getattr(Settings.model_fields.get(str(name)), "description", None)
    where = ".".join([str(name).upper(), *map(str, path)])
    return f"\n  {where}: {fault['msg']}" + (f" (expected: {hint})" if hint else "")

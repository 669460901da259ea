"""What goes in and out over HTTP. Nothing here has a field for a secret that would go out."""

import re
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    Secret,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from app.emails import MAX_LENGTH, normalised
from app.models import ConnectionStatus
from app.models.catalogue import CatalogueKind
from app.oauth import Account

Item = TypeVar("Item")
SCHEME = "Bearer"


def _must_match(pattern: str, complaint: str) -> AfterValidator:
    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise PydanticCustomError("pattern", "{complaint}", {"complaint": complaint})
        return value

    return AfterValidator(check)


def _normal_email(address: str) -> str:
    try:
        return normalised(address)
    except ValueError as error:
        raise PydanticCustomError("email", "{complaint}", {"complaint": str(error)}) from error


# PostgreSQL takes no NUL in a text, and nobody wants the other control characters in a line.
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=80),
    _must_match(r"[^\x00-\x1f\x7f]*", "Control characters are not allowed"),
    Field(json_schema_extra={"pattern": r"^[^\u0000-\u001f\u007f]*$"}),
]
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_LENGTH),
    AfterValidator(_normal_email),
    _must_match(
        r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+\.[^@\s\x00-\x1f\x7f]+", "This is no e-mail address"
    ),
    Field(json_schema_extra={"format": "idn-email"}),
]
Key = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
NewPassword = Annotated[str, StringConstraints(min_length=12, max_length=1024)]
Password = Annotated[str, StringConstraints(max_length=1024)]


class Input(BaseModel):
    """Base of what comes in: a field that does not exist is an error."""

    model_config = ConfigDict(extra="forbid")


class Output(BaseModel):
    """Base of what goes out, made from a model's attributes."""

    model_config = ConfigDict(from_attributes=True)


class Registration(Input):
    """A new user."""

    email: Email
    password: Secret[NewPassword]
    name: Line


class Login(Input):
    """Credentials."""

    email: Email
    password: Secret[Password]


class AccessToken(Output):
    """What a login gives. `expires_in` is in seconds."""

    access_token: str
    token_type: str = SCHEME
    expires_in: int


class UserRead(Output):
    """A user, to themselves."""

    id: int
    email: str
    name: str
    created_at: datetime
    last_login_at: datetime | None


class CatalogueEntryRead(Output):
    """A kind of provider."""

    key: str
    name: str
    description: str
    kind: CatalogueKind
    scopes: list[str]
    available: bool


class ProviderCreate(Input):
    """A provider to add."""

    key: Key
    alias: Line


class ProviderRename(Input):
    """A provider's new alias."""

    alias: Line


class TokenRead(Output):
    """What may be known of a token."""

    version: int
    scopes: list[str]
    expires_at: datetime


class ConnectionRead(Output):
    """The state of a provider's connection. `token` is null unless it was authorised."""

    id: UUID
    status: ConnectionStatus
    error_count: int
    sync_count: int
    last_error: str | None
    last_sync_at: datetime | None
    token: TokenRead | None


class ProviderRead(Output):
    """One of the user's providers."""

    id: UUID
    key: str
    alias: str
    entry: CatalogueEntryRead
    connection: ConnectionRead
    created_at: datetime
    updated_at: datetime


class AuthorisationStart(Output):
    """Where to send the user's browser. `expires_in` is in seconds."""

    authorisation_url: AnyUrl
    expires_in: int


class TokenRefresh(Input):
    """Which version of the tokens to refresh; without it, whichever there is."""

    expected_version: PositiveInt | None = None


class SyncRead(Output):
    """What a synchronisation found."""

    provider: ProviderRead
    accounts: list[Account]


class AuditEntryRead(Output):
    """One entry of the audit."""

    id: int
    action: str
    entity_type: str
    entity_id: str
    detail: dict[str, Any]
    at: datetime


class PageRead(Output, Generic[Item]):
    """A part of a list, and how many items the whole list has."""

    items: list[Item]
    total: int
    limit: int
    offset: int

"""What the service cannot do, and why, in its own words: nothing here knows of HTTP.

A kind of error says what can be done about it; the error itself says what happened:

* ServiceError
  - Refused: InvalidState, AuthorisationRefused
  - Unauthenticated: NotAuthenticated, InvalidAccessToken, InvalidCredentials
  - TooMany: TooManyAttempts
  - NotFound: NoSuchProvider
  - Conflict: EmailTaken, AliasTaken, NotAvailable, Busy, NotConnected, StaleVersion, NoRefreshToken, TokenExpired,
    AuthorisationLapsed
  - InvalidValue: UnknownKey
  - UpstreamFailed: ProviderFailed
  - Unavailable: NotConfigured, DatabaseUnavailable, Overloaded
"""

from typing import Any, ClassVar


class ServiceError(Exception):
    """An error that whoever asked is told about.

    Args:
        detail: What happened this time, in words that may be shown to anybody.
        retry_after: Seconds after which the same may succeed, where that is known.
        members: What a program may want to know besides.

    Attributes:
        code: The stable name of the error, for programs.
    """

    code: ClassVar[str]
    retry_after: int | None = None

    def __init__(self, detail: str, *, retry_after: int | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        if retry_after is not None:
            self.retry_after = retry_after
        self.members = members


# -- The kinds --


class Refused(ServiceError):
    """What was sent cannot be carried out."""


class Unauthenticated(ServiceError):
    """It is not known who asks."""


class TooMany(ServiceError):
    """Whoever asks has asked too often."""


class NotFound(ServiceError):
    """There is no such thing, or it is not the asker's."""


class Conflict(ServiceError):
    """The state of the thing does not allow it."""


class InvalidValue(ServiceError):
    """Well-formed, but a value in it is wrong."""


class UpstreamFailed(ServiceError):
    """Somebody whom the service depends on did not answer, or not sensibly."""


class Unavailable(ServiceError):
    """Something that the service needs is not there at the moment."""


# -- Who asks --


class NotAuthenticated(Unauthenticated):
    """No access token came along."""

    code = "not-authenticated"


class InvalidAccessToken(Unauthenticated):
    """The access token is not of this service, has expired, or its account is closed."""

    code = "invalid-token"


class InvalidCredentials(Unauthenticated):
    """The address or the password is wrong, or the account is closed: which one is not told."""

    code = "invalid-credentials"


class TooManyAttempts(TooMany):
    """There were too many logins or registrations from one address, or with one e-mail address."""

    code = "too-many-attempts"


class EmailTaken(Conflict):
    """Somebody is registered with the address."""

    code = "email-taken"


# -- A user's providers --


class NoSuchProvider(NotFound):
    """The user has no such provider, or has removed it."""

    code = "no-such-provider"


class AliasTaken(Conflict):
    """The user has a provider of this name."""

    code = "alias-taken"


class UnknownKey(InvalidValue):
    """The catalogue has no such entry."""

    code = "unknown-key"


class NotAvailable(Conflict):
    """The entry of the catalogue cannot be connected to yet."""

    code = "not-available"


# -- Their connections --


class InvalidState(Refused):
    """The authorisation was not begun here or in this browser, is used up, or too old."""

    code = "invalid-state"


class AuthorisationRefused(Refused):
    """The user declined, or the provider did not accept the code."""

    code = "authorisation-refused"


class Busy(Conflict):
    """Another request is at work on the connection."""

    code = "busy"


class NotConnected(Conflict):
    """The provider was not authorised."""

    code = "not-connected"


class StaleVersion(Conflict):
    """The tokens are at another version than the caller knows. The member `version` says at which."""

    code = "stale-version"


class NoRefreshToken(Conflict):
    """The provider gave nothing to refresh with."""

    code = "no-refresh-token"


class TokenExpired(Conflict):
    """The access token has to be refreshed first."""

    code = "token-expired"


class AuthorisationLapsed(Conflict):
    """The provider no longer accepts the tokens."""

    code = "authorisation-lapsed"


class ProviderFailed(UpstreamFailed):
    """The provider did not answer, or not sensibly."""

    code = "provider-failed"


class NotConfigured(Unavailable):
    """The service has no credentials or no endpoint for the provider."""

    code = "not-configured"


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database-unavailable"


class Overloaded(Unavailable):
    """More is asked for at once than there is memory for; it passes by itself."""

    code = "overloaded"
    retry_after = 2

"""Passwords, signed tokens and the encryption of what providers entrust to us."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property, partial
from typing import Any, TypeVar

import jwt
from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from cryptography.fernet import Fernet, MultiFernet

from app.errors import Overloaded
from app.settings import Settings

T = TypeVar("T")
ALGORITHM = "HS256"


class InvalidToken(Exception):
    """A signed token is forged, malformed, expired or made for another purpose."""


class Purpose(StrEnum):
    """What a signed token is good for. One kind is never accepted in place of the other."""

    ACCESS = "access"
    AUTHORISATION = "authorisation"


class Security:
    """What is done with the secrets of one application: its keys, and the costs of its hashes."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.jwt_key.get_secret_value()
        self._cipher = MultiFernet(
            [Fernet(key) for key in settings.encryption_key.get_secret_value().split(",")]
        )
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_time_cost,
            memory_cost=settings.argon2_memory_cost,
            parallelism=settings.argon2_parallelism,
        )
        self._workers = CapacityLimiter(settings.argon2_workers)
        self._places = settings.argon2_workers + settings.argon2_queue
        self._asked_for = 0

    async def hash_password(self, password: str) -> str:
        """Argon2id hash of a password, computed in a worker thread: it takes tens of milliseconds on purpose.

        Raises Overloaded.
        """
        return await self._in_its_turn(partial(self._hasher.hash, password))

    async def verify_password(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is the one behind the hash.

        For None (no such user) it works as long as for a real hash, so that the time taken tells nothing.

        Raises Overloaded.
        """

        def matches() -> bool:
            try:
                return self._hasher.verify(password_hash or self._decoy, password)
            except (VerifyMismatchError, InvalidHashError):
                return False

        return await self._in_its_turn(matches) and password_hash is not None

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether a hash was made with other cost parameters than the settings ask for."""
        return self._hasher.check_needs_rehash(password_hash)

    def sign(self, purpose: Purpose, lifetime: int, **claims: str) -> str:
        """A JWT with these claims, good for one purpose and for `lifetime` seconds."""
        now = datetime.now(UTC)
        payload = {**claims, "aud": purpose, "iat": now, "exp": now + timedelta(seconds=lifetime)}
        return jwt.encode(payload, self._key, ALGORITHM)

    def verify(self, purpose: Purpose, token: str) -> dict[str, Any]:
        """The claims of a JWT made by `sign` for this purpose; `sub` as the id that it is.

        Raises InvalidToken for any other string.
        """
        try:
            claims = jwt.decode(
                token, self._key, [ALGORITHM], audience=purpose, options={"require": ["exp", "aud", "sub"]}
            )
        except jwt.InvalidTokenError as error:
            raise InvalidToken(str(error)) from error
        if re.fullmatch("[1-9][0-9]{0,17}", claims["sub"]) is None:  # less than a bigint holds
            raise InvalidToken("the subject is no id")
        return {**claims, "sub": int(claims["sub"])}

    def derive(self, purpose: str) -> str:
        """A secret (43 URL-safe characters) that only this service can compute, the same each time for a purpose."""
        digest = hmac.digest(self._key.encode(), purpose.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def encrypt(self, plaintext: str) -> str:
        """Encrypt under the first of the encryption keys (Fernet: AES-128-CBC with HMAC-SHA256)."""
        return self._cipher.encrypt(plaintext.encode()).decode()

    def decrypt(self, ciphertext: str) -> str:
        """Decrypt what `encrypt` made, under any of the keys. Raises cryptography.fernet.InvalidToken."""
        return self._cipher.decrypt(ciphertext).decode()

    async def _in_its_turn(self, work: Callable[[], T]) -> T:
        # Hashing takes much memory, on purpose as well: as much as strangers like, if they only ask at the same time.
        if self._asked_for >= self._places:
            raise Overloaded("Too many want to log in or register at the moment: try again soon.")
        self._asked_for += 1
        try:
            return await to_thread.run_sync(work, limiter=self._workers)
        finally:
            self._asked_for -= 1

    @cached_property
    def _decoy(self) -> str:
        return self._hasher.hash("nobody's password")


def fingerprint(secret: str) -> str:
    """SHA-256 of a random secret, in hex: enough to recognise it by, useless to whoever reads it."""
    return hashlib.sha256(secret.encode()).hexdigest()

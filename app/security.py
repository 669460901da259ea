"""Passwords, signed tokens and the encryption of what providers entrust to us."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

import jwt
from anyio import to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from cryptography.fernet import Fernet, MultiFernet

from app.settings import get_settings

ALGORITHM = "HS256"


class InvalidToken(Exception):
    """A signed token is forged, malformed, expired or made for another purpose."""


class Purpose(StrEnum):
    """What a signed token is good for. One kind is never accepted in place of the other."""

    ACCESS = "access"
    AUTHORISATION = "authorisation"


@cache
def _hasher() -> PasswordHasher:
    settings = get_settings()
    return PasswordHasher(
        time_cost=settings.argon2_time_cost,
        memory_cost=settings.argon2_memory_cost,
        parallelism=settings.argon2_parallelism,
    )


@cache
def _decoy() -> str:
    return _hasher().hash("nobody's password")


async def hash_password(password: str) -> str:
    """Argon2id hash of a password, computed in a worker thread: it takes tens of milliseconds on purpose."""
    return await to_thread.run_sync(_hasher().hash, password)


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether the password is the one behind the hash.

    For None (no such user) it works as long as for a real hash, so that the time taken tells nothing.
    """

    def matches() -> bool:
        try:
            return _hasher().verify(password_hash or _decoy(), password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    return await to_thread.run_sync(matches) and password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Whether a hash was made with other cost parameters than today's settings ask for."""
    return _hasher().check_needs_rehash(password_hash)


def sign(purpose: Purpose, lifetime: int, **claims: str) -> str:
    """A JWT with these claims, good for one purpose and for `lifetime` seconds."""
    now = datetime.now(UTC)
    payload = {**claims, "aud": purpose, "iat": now, "exp": now + timedelta(seconds=lifetime)}
    return jwt.encode(payload, get_settings().jwt_key.get_secret_value(), ALGORITHM)


def verify(purpose: Purpose, token: str) -> dict[str, Any]:
    """The claims of a JWT made by `sign` for this purpose. Raises InvalidToken for any other string."""
    key = get_settings().jwt_key.get_secret_value()
    try:
        return jwt.decode(
            token, key, [ALGORITHM], audience=purpose, options={"require": ["exp", "aud", "sub"]}
        )
    except jwt.InvalidTokenError as error:
        raise InvalidToken(str(error)) from error


def derive(purpose: str) -> str:
    """A secret (43 URL-safe characters) that only this service can compute, always the same for a purpose."""
    key = get_settings().jwt_key.get_secret_value()
    digest = hmac.digest(key.encode(), purpose.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def fingerprint(secret: str) -> str:
    """SHA-256 of a random secret, in hex: enough to recognise it by, useless to whoever reads it."""
    return hashlib.sha256(secret.encode()).hexdigest()


@cache
def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in get_settings().encryption_key.get_secret_value().split(",")])


def encrypt(plaintext: str) -> str:
    """Encrypt under the first of the encryption keys (Fernet: AES-128-CBC with HMAC-SHA256)."""
    return _cipher().encrypt(plaintext.encode()).decode()


def decrypt(ciphertext: str) -> str:
    """Decrypt what `encrypt` made, under any of the keys. Raises cryptography.fernet.InvalidToken."""
    return _cipher().decrypt(ciphertext).decode()

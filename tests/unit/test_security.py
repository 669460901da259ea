"""Passwords, signed tokens and encryption."""

import asyncio
import re

import jwt
import pytest
from cryptography import fernet
from cryptography.fernet import Fernet

from app.errors import Overloaded
from app.security import ALGORITHM, InvalidToken, Purpose, Security, fingerprint
from app.settings import get_settings
from greenroom.typing import Run
from tests.fixtures import Configure


@pytest.fixture
def security() -> Security:
    """The keys of the environment."""
    return Security(get_settings())


PASSWORD = "correct horse battery staple"


def test_password_hash_verifies_its_password(run: Run, security: Security) -> None:
    """A hash is accepted with the password that it was made from, and with no other."""
    password_hash = run(security.hash_password(PASSWORD))

    assert run(security.verify_password(PASSWORD, password_hash))
    assert not run(security.verify_password(PASSWORD.upper(), password_hash))


def test_password_hash_is_argon2id_and_salted(run: Run, security: Security) -> None:
    """Hashes are Argon2id, do not contain the password, and differ for the same password."""
    first, second = run(security.hash_password(PASSWORD)), run(security.hash_password(PASSWORD))

    assert first.startswith("$argon2id$")
    assert PASSWORD not in first
    assert first != second


@pytest.mark.parametrize("password_hash", [None, "", "not a hash", "$2b$12$of-another-algorithm"])
def test_password_never_verifies_without_a_valid_hash(
    run: Run, password_hash: str | None, security: Security
) -> None:
    """No hash, and one that is not Argon2's, accept no password, without an error."""
    assert not run(security.verify_password(PASSWORD, password_hash))


def test_decoy_password_opens_nothing(run: Run, security: Security) -> None:
    """The password behind the decoy, which stands in for a user who does not exist, is not accepted."""
    assert not run(security.verify_password("nobody's password", None))


def test_password_may_be_any_text(run: Run, security: Security) -> None:
    """Passwords of other scripts, emoji and control characters are hashed like every other."""
    for password in ("пароль пароль", "🔑" * 12, "nul \x00 inside it"):
        password_hash = run(security.hash_password(password))
        assert run(security.verify_password(password, password_hash))
    assert not run(security.verify_password("nul ", password_hash))


def test_passwords_are_hashed_in_turns(run: Run, configure: Configure) -> None:
    """So many are hashed at once, so many wait, and the rest are told to come again; later all is as before."""
    configure(ARGON2_WORKERS="2", ARGON2_QUEUE="3")
    security = Security(get_settings())

    async def at_once(count: int) -> list[str | BaseException]:
        hashes = (security.hash_password(PASSWORD) for _ in range(count))
        return await asyncio.gather(*hashes, return_exceptions=True)

    for _ in range(2):
        results = run(at_once(8))
        assert [isinstance(result, str) for result in results] == [True] * 5 + [False] * 3
        assert {type(result) for result in results[5:]} == {Overloaded}


def test_hash_of_other_cost_needs_a_rehash(run: Run, configure: Configure, security: Security) -> None:
    """A hash made with other cost parameters than the settings' is due for a new one."""
    password_hash = run(security.hash_password(PASSWORD))
    assert not security.needs_rehash(password_hash)

    configure(ARGON2_TIME_COST="2")
    security = Security(get_settings())

    assert security.needs_rehash(password_hash)
    assert run(security.verify_password(PASSWORD, password_hash))


def test_signed_token_gives_its_claims_back(security: Security) -> None:
    """What was signed for a purpose can be read for that purpose."""
    token = security.sign(Purpose.ACCESS, 60, sub="7", colour="green")

    claims = security.verify(Purpose.ACCESS, token)

    assert (claims["sub"], claims["colour"]) == (7, "green")
    assert claims["exp"] - claims["iat"] == 60


def test_token_is_good_for_one_purpose(security: Security) -> None:
    """A token of one purpose is not accepted for another."""
    token = security.sign(Purpose.AUTHORISATION, 60, sub="7")

    with pytest.raises(InvalidToken):
        security.verify(Purpose.ACCESS, token)


def test_expired_token_is_refused(security: Security) -> None:
    """A token is refused once its lifetime is over."""
    with pytest.raises(InvalidToken, match="expired"):
        security.verify(Purpose.ACCESS, security.sign(Purpose.ACCESS, -1, sub="7"))


@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "claims", "signature"])
def test_tampered_token_is_refused(part: int, security: Security) -> None:
    """Changing one character of any part of a token makes it void."""
    parts = security.sign(Purpose.ACCESS, 60, sub="7").split(".")
    parts[part] = ("A" if parts[part][0] != "A" else "B") + parts[part][1:]

    with pytest.raises(InvalidToken):
        security.verify(Purpose.ACCESS, ".".join(parts))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\x00", "ü.ü.ü"])
def test_what_is_no_token_is_refused(token: str, security: Security) -> None:
    """Any other string is an InvalidToken, not another error."""
    with pytest.raises(InvalidToken):
        security.verify(Purpose.ACCESS, token)


def test_unsigned_token_is_refused(security: Security) -> None:
    """The algorithm "none" is not accepted."""
    claims = jwt.decode(
        security.sign(Purpose.ACCESS, 60, sub="7"), options={"verify_signature": False, "verify_aud": False}
    )

    with pytest.raises(InvalidToken):
        security.verify(Purpose.ACCESS, jwt.encode(claims, key="", algorithm="none"))


@pytest.mark.parametrize("sub", ["", "0", "-7", "7.0", " 7", "007", "ada", "٧", "7" * 19, "7\n"], ids=repr)
def test_token_of_an_odd_subject_is_refused(sub: str, security: Security) -> None:
    """A token that we signed for what is no id is void, not an error further on."""
    with pytest.raises(InvalidToken, match="no id"):
        security.verify(Purpose.ACCESS, security.sign(Purpose.ACCESS, 60, sub=sub))


@pytest.mark.parametrize("missing", ["exp", "aud", "sub"])
def test_token_must_have_each_required_claim(missing: str, security: Security) -> None:
    """A token of ours that lacks its expiry, purpose or subject is refused."""
    claims = {"exp": 2**31, "aud": "access", "sub": "7"}
    del claims[missing]
    token = jwt.encode(claims, get_settings().jwt_key.get_secret_value(), ALGORITHM)

    with pytest.raises(InvalidToken):
        security.verify(Purpose.ACCESS, token)


def test_token_of_another_key_is_refused(configure: Configure, security: Security) -> None:
    """When the key changes, the tokens signed with the old one are void."""
    token = security.sign(Purpose.ACCESS, 60, sub="7")

    configure(JWT_KEY="another key, which is long enough")
    security = Security(get_settings())

    with pytest.raises(InvalidToken):
        security.verify(Purpose.ACCESS, token)


def test_derived_secrets_are_stable_and_separate(configure: Configure, security: Security) -> None:
    """A derived secret depends on its purpose and the key, and on nothing else."""
    secret = security.derive("one")

    assert security.derive("one") == secret
    assert security.derive("two") != secret
    # What PKCE asks of a code verifier (RFC 7636 §4.1).
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret)
    configure(JWT_KEY="another key, which is long enough")
    security = Security(get_settings())
    assert security.derive("one") != secret


def test_fingerprint_is_sha256() -> None:
    """A fingerprint is the SHA-256 of the secret, in hex."""
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    assert fingerprint("abc") == expected


@pytest.mark.parametrize("plaintext", ["", "token", "ünïcödé 🔑", "x" * 10_000], ids=len)
def test_encryption_is_undone_by_decryption(plaintext: str, security: Security) -> None:
    """Any text comes back as it was, from a ciphertext that differs each time."""
    first, second = security.encrypt(plaintext), security.encrypt(plaintext)

    assert first != second
    assert security.decrypt(first) == security.decrypt(second) == plaintext


def test_tampered_ciphertext_is_refused(security: Security) -> None:
    """A ciphertext of which one character was changed does not decrypt."""
    ciphertext = security.encrypt("token")
    middle = len(ciphertext) // 2
    other = "A" if ciphertext[middle] != "A" else "B"

    with pytest.raises(fernet.InvalidToken):
        security.decrypt(ciphertext[:middle] + other + ciphertext[middle + 1 :])


def test_key_rotation(configure: Configure) -> None:
    """The first key encrypts and all decrypt, so that a new key can be put before the old one."""
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    configure(ENCRYPTION_KEY=old)
    security = Security(get_settings())
    from_before = security.encrypt("token")

    configure(ENCRYPTION_KEY=f"{new},{old}")
    security = Security(get_settings())

    assert security.decrypt(from_before) == "token"
    assert Fernet(new).decrypt(security.encrypt("token")) == b"token"
    configure(ENCRYPTION_KEY=new)
    security = Security(get_settings())
    with pytest.raises(fernet.InvalidToken):
        security.decrypt(from_before)

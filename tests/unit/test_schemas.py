"""What comes in over HTTP, and what of it is refused."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.api.schemas import Email, Key, Line, Login, ProviderCreate, Registration, TokenRefresh

REGISTRATION = {"email": "ada@example.org", "password": "correct horse battery", "name": "Ada"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("ada@example.org", "ada@example.org"),
        ("  Ada.Lovelace+x@Example.ORG\t", "ada.lovelace+x@example.org"),
        ("ADA@ÉCOLE.FR", "ada@école.fr"),
        ("a@b.c", "a@b.c"),
        ("my_name@my_host.example", "my_name@my_host.example"),
        ("ada@e\u0301cole.fr", "ada@école.fr"),  # é in two characters
        ("ada@xn--cole-9oa.fr", "ada@école.fr"),
        ("ADA@XN--COLE-9OA.FR", "ada@école.fr"),
        ("ada@école。fr", "ada@école.fr"),
        ("jose\u0301@b.c", "josé@b.c"),
        ("ａｄａ＠ｂ．ｃ", "ada@b.c"),
        ("ﬁlip@b.c", "filip@b.c"),
        ("ada@example.org.", "ada@example.org"),
        ("ada@école.fr。", "ada@école.fr"),
        ("ΝΊΚΟΣ@b.c", "νίκος@b.c"),
        ("ada@straße.de", "ada@straße.de"),  # another domain than strasse.de
    ],
)
def test_email_is_normalised(given: str, kept: str) -> None:
    """White space around it, case, composition, width and the encoding of the domain make no other address."""
    assert TypeAdapter(Email).validate_python(kept) == kept
    assert TypeAdapter(Email).validate_python(given) == kept


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "ada@",
        "@example.org",
        "ada@example",
        "ada@example.",
        "a b@example.org",
        "a@b@example.org",
        "ada@exam\nple.org",
        "ad\x00a@example.org",
        "ada@example.org\n\x7f",
        "a" * 250 + "@b.c.d",
        "ﷺ" * 20 + "@b.c",
        "ada\u200b@example.org",
        "ada@exam\u00adple.org\u200e",
        "ada\ufe0f@example.org",
        "ada\u034f@example.org",
        "ada\u3164@example.org",
        "ada\U000e0100@example.org",
        "ada@example..org",
        "ada@.example.org",
        "ada@example.org..",
        "ada@xn--a.example",
        "ada@-é-.example",
        "é",
        "a＠b@c.d",
    ],
)
def test_what_is_no_email(email: str) -> None:
    """Whatever lacks a part, has two, has white space or control characters in it, or is too long is refused."""
    with pytest.raises(ValidationError):
        TypeAdapter(Email).validate_python(email)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("x", "x"), ("  My bank ", "My bank"), ("Ünïcödé 🏦", "Ünïcödé 🏦"), ("x" * 80, "x" * 80)],
)
def test_line(given: str, kept: str) -> None:
    """A line is up to 80 characters of any script, without white space around them."""
    assert TypeAdapter(Line).validate_python(given) == kept


@pytest.mark.parametrize(
    "line", ["", "   ", "x" * 81, "nul\x00", "two\nlines", "tab\tbed", "del\x7f", "\ud800"]
)
def test_what_is_no_line(line: str) -> None:
    """Nothing, too much, control characters and halves of characters are refused."""
    with pytest.raises(ValidationError):
        TypeAdapter(Line).validate_python(line)


@pytest.mark.parametrize("key", ["", "Sandbox", "1st", "_x", "a-b", "a b", "sandbox\n", "a" * 65])
def test_what_is_no_key(key: str) -> None:
    """A key begins with a letter and has lower-case letters, digits and underscores."""
    assert TypeAdapter(Key).validate_python("bank_2") == "bank_2"
    with pytest.raises(ValidationError):
        TypeAdapter(Key).validate_python(key)


@pytest.mark.parametrize(("length", "accepted"), [(11, False), (12, True), (1024, True), (1025, False)])
def test_length_of_a_new_password(length: int, accepted: bool) -> None:
    """A new password has from 12 to 1024 characters."""
    body = REGISTRATION | {"password": "x" * length}

    if accepted:
        assert Registration.model_validate(body).password.get_secret_value() == "x" * length
    else:
        with pytest.raises(ValidationError):
            Registration.model_validate(body)


def test_password_is_kept_as_it_is() -> None:
    """Passwords are not stripped, and a short one may be tried at a login."""
    registration = Registration.model_validate(REGISTRATION | {"password": "  with blanks  "})
    login = Login.model_validate({"email": "a@b.c", "password": " "})

    assert registration.password.get_secret_value() == "  with blanks  "
    assert login.password.get_secret_value() == " "


def test_password_does_not_show() -> None:
    """Printing a body that holds a password does not print it."""
    registration = Registration.model_validate(REGISTRATION)

    assert REGISTRATION["password"] not in f"{registration!r} {registration} {registration.model_dump()}"


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (Registration, REGISTRATION | {"is_admin": True}),
        (Login, {"email": "a@b.c", "password": "x", "remember": True}),
        (ProviderCreate, {"key": "sandbox", "alias": "x", "user_id": 1}),
        (TokenRefresh, {"version": 1}),
    ],
)
def test_unknown_field_is_an_error(schema: type[Registration], body: dict[str, Any]) -> None:
    """A field that does not exist is not overlooked."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        schema.model_validate(body)


@pytest.mark.parametrize("version", [0, -1, 1.5, "x"])
def test_expected_version_is_a_positive_number(version: object) -> None:
    """Versions count from one; none at all is fine."""
    assert TokenRefresh.model_validate({}).expected_version is None
    with pytest.raises(ValidationError):
        TokenRefresh.model_validate({"expected_version": version})

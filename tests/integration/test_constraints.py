"""What the database refuses, whoever asks."""

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.orm import Session

from app.models import Base, Provider
from tests.factories import connect

UNKNOWN = "00000000-0000-0000-0000-000000000000"
INSERT_ENTRY = "INSERT INTO catalogue_entries (key, name, description, kind, available)"
INSERT_TOKEN = "INSERT INTO tokens (connection_id, access_token, expires_at, version)"
INSERT_AUDIT = "INSERT INTO audit_entries (id, action, entity_type, entity_id)"

# Statements that violate a constraint, given Ada (who has the id 1) and a provider of hers that is authorised.
VIOLATIONS = [
    ("pk_users", "INSERT INTO users (id, email, name, password_hash) VALUES (1, 'x@y.z', 'X', 'x')"),
    (
        "uq_users_email",
        "INSERT INTO users (email, name, password_hash) VALUES ('ada@example.org', 'X', 'x')",
    ),
    ("ck_users_email_lower", "UPDATE users SET email = 'Ada@example.org'"),
    ("pk_catalogue_entries", f"{INSERT_ENTRY} VALUES ('sandbox', 'X', '', 'sandbox', true)"),
    ("uq_catalogue_entries_name", f"{INSERT_ENTRY} VALUES ('x', 'Sandbox', '', 'sandbox', true)"),
    ("ck_catalogue_entries_key_format", f"{INSERT_ENTRY} VALUES ('No Key', 'X', '', 'sandbox', true)"),
    ("ck_catalogue_entries_kind", f"{INSERT_ENTRY} VALUES ('x', 'X', '', 'saml', false)"),
    ("ck_catalogue_entries_available_has_endpoints", f"{INSERT_ENTRY} VALUES ('x', 'X', '', 'oauth2', true)"),
    ("pk_providers", "INSERT INTO providers (id, user_id, key, alias) SELECT id, 1, key, 'x' FROM providers"),
    (
        "uq_providers_user_id_alias",
        "INSERT INTO providers (user_id, key, alias) VALUES (1, 'schwab', 'Everyday')",
    ),
    ("fk_providers_user_id_users", "INSERT INTO providers (user_id, key, alias) VALUES (2, 'sandbox', 'x')"),
    (
        "fk_providers_key_catalogue_entries",
        "INSERT INTO providers (user_id, key, alias) VALUES (1, 'x', 'x')",
    ),
    ("fk_providers_key_catalogue_entries", "DELETE FROM catalogue_entries WHERE key = 'sandbox'"),
    ("ck_providers_alias_length", "UPDATE providers SET alias = ''"),
    ("ck_providers_alias_length", "UPDATE providers SET alias = repeat('x', 81)"),
    ("pk_connections", "INSERT INTO connections (id, provider_id) SELECT id, provider_id FROM connections"),
    ("uq_connections_provider_id", "INSERT INTO connections (provider_id) SELECT id FROM providers"),
    ("fk_connections_provider_id_providers", f"UPDATE connections SET provider_id = '{UNKNOWN}'"),
    ("ck_connections_status", "UPDATE connections SET status = 'fine'"),
    ("ck_connections_counters", "UPDATE connections SET error_count = -1"),
    ("ck_connections_counters", "UPDATE connections SET sync_count = -1"),
    ("pk_tokens", f"{INSERT_TOKEN} SELECT connection_id, access_token, expires_at, version FROM tokens"),
    ("fk_tokens_connection_id_connections", f"UPDATE tokens SET connection_id = '{UNKNOWN}'"),
    ("pk_audit_entries", f"{INSERT_AUDIT} OVERRIDING SYSTEM VALUE VALUES (1, 'x', 'x', '1')"),
    ("fk_audit_entries_user_id_users", "UPDATE audit_entries SET user_id = 2"),
]


def test_violations(session: Session, provider: Provider) -> None:
    """Each constraint refuses what violates it, by its name."""
    assert provider.user_id == 1
    connect(session, provider)
    session.execute(text("INSERT INTO audit_entries (action, entity_type, entity_id) VALUES ('x', 'x', '1')"))

    for constraint, statement in VIOLATIONS:
        with pytest.raises(IntegrityError, match=f'constraint "{constraint}"'), session.begin_nested():
            session.execute(text(statement))


def test_every_constraint_has_its_violation(engine: Engine) -> None:
    """The list above is complete: a new constraint of the database needs a new line in it."""
    inspector = inspect(engine)
    constraints: set[str | None] = set()
    for table in Base.metadata.tables:
        constraints.add(inspector.get_pk_constraint(table)["name"])
        constraints |= {found["name"] for found in inspector.get_unique_constraints(table)}
        constraints |= {found["name"] for found in inspector.get_foreign_keys(table)}
        constraints |= {found["name"] for found in inspector.get_check_constraints(table)}

    assert {name for name, _ in VIOLATIONS} == constraints


def test_required_columns(session: Session, provider: Provider) -> None:
    """Each column that the models call required refuses NULL."""
    connect(session, provider)
    session.execute(text("INSERT INTO audit_entries (action, entity_type, entity_id) VALUES ('x', 'x', '1')"))
    session.commit()

    for table in Base.metadata.tables.values():
        for column in table.columns:
            # An identity that is always generated takes no value at all.
            if column.nullable or (column.identity and column.identity.always):
                continue
            with pytest.raises(IntegrityError, match=f'null value in column "{column.name}"'):
                session.execute(text(f"UPDATE {table.name} SET {column.name} = NULL"))
            session.rollback()


def test_numbers_of_the_log_cannot_be_chosen(session: Session) -> None:
    """Nobody slips an entry in between: the log's numbers are the database's."""
    with pytest.raises(ProgrammingError, match="cannot insert a non-DEFAULT value"):
        session.execute(text(f"{INSERT_AUDIT} VALUES (1, 'x', 'x', '1')"))

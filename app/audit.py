"""The audit writes itself: every change that a session flushes is recorded in the same transaction."""

from typing import Any

from pydantic_core import to_jsonable_python
from sqlalchemy import event, insert, inspect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, UOWTransaction

from app.models import AuditEntry, Base, User

ACTOR = "actor_id"
DELETIONS = "deletions"
HIDDEN = "(hidden)"


class AuditedSession(Session):
    """The sync session beneath the service's AsyncSession: what it flushes is recorded."""


def act_as(session: AsyncSession, user_id: int) -> None:
    """Record what this session changes from now on as the doing of this user."""
    session.info[ACTOR] = user_id


@event.listens_for(AuditedSession, "after_flush")
def _record_changes(session: Session, _context: UOWTransaction) -> None:
    # By now the keys that the database chose are known, and the attributes' history is not forgotten yet.
    created = [_row(session, entity, "created", _changes(entity)) for entity in session.new]
    updated = [
        _row(session, entity, "updated", changes) for entity in session.dirty if (changes := _changes(entity))
    ]
    if rows := created + updated:
        session.execute(insert(AuditEntry), rows)


@event.listens_for(AuditedSession, "persistent_to_deleted")
def _note_deletion(session: Session, entity: Base) -> None:
    # Unlike `session.deleted` this hears of orphans, too, such as the token that its connection let go of.
    session.info.setdefault(DELETIONS, []).append(_row(session, entity, "deleted", {}))


@event.listens_for(AuditedSession, "after_flush_postexec")
def _record_deletions(session: Session, _context: UOWTransaction) -> None:
    if rows := session.info.pop(DELETIONS, None):
        session.execute(insert(AuditEntry), rows)


def _row(session: Session, entity: Base, verb: str, changes: dict[str, Any]) -> dict[str, Any]:
    mapper = inspect(type(entity))
    kind = mapper.class_.__name__.lower()
    # Who registers or logs in is not known to the session before: the row is its own actor.
    actor = session.info.get(ACTOR) or (entity.id if isinstance(entity, User) else None)
    return {
        "user_id": actor,
        "action": f"{kind}.{verb}",
        "entity_type": kind,
        "entity_id": ":".join(map(str, mapper.primary_key_from_instance(entity))),
        "detail": changes,
    }


def _changes(entity: Base) -> dict[str, Any]:
    """Attributes with a new value, as {"from": …, "to": …}; columns marked secret without the values."""
    state = inspect(entity)
    changes: dict[str, Any] = {}
    for attribute in state.mapper.column_attrs:
        history = state.attrs[attribute.key].history
        if not history.has_changes():
            continue
        if attribute.columns[0].info.get("secret"):
            changes[attribute.key] = HIDDEN
        else:
            before, after = (values[0] if values else None for values in (history.deleted, history.added))
            changes[attribute.key] = to_jsonable_python({"from": before, "to": after})
    return changes

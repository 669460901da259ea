"""Reads an attribute that is not loaded, and prints the explanation: `python -m tests.greenroom.unloaded HOW ATTRIBUTE`.

A program of its own, since greenroom's guard would refuse the database, which is not there: the error comes before.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    composite,
    mapped_column,
    relationship,
)

from greenroom.explain import explain


class Base(DeclarativeBase):
    """The models of this module."""


@dataclass
class Point:
    """Two columns."""

    x: int
    y: int


class Employee(Base):
    """Has a column, an SQL expression of it, a composite, and tasks."""

    __tablename__ = "employees"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    visits: Mapped[int] = mapped_column(default=0)
    doubled: Mapped[int] = column_property(visits * 2)
    desk: Mapped[Point] = composite(mapped_column("desk_x"), mapped_column("desk_y"))
    tasks: Mapped[list[Task]] = relationship()


class Manager(Employee):
    """Has a table of its own."""

    __tablename__ = "managers"
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
    budget: Mapped[int] = mapped_column(default=7)


class Task(Base):
    """Belongs to an employee."""

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(primary_key=True)
    employee_id: Mapped[int] = mapped_column(ForeignKey("employees.id"))


def flushed(session: Session) -> Employee:
    """One whose column was set to an SQL expression."""
    employee = session.scalars(select(Employee)).one()
    employee.visits = Employee.visits + 1
    session.flush()
    return employee


def queried(session: Session) -> Employee:
    """One that a query for its base class has found."""
    return session.scalars(select(Employee)).one()


def committed(session: Session) -> Employee:
    """One that has expired."""
    employee = session.scalars(select(Employee)).one()
    session.commit()
    return employee


HOW = {"flushed": flushed, "queried": queried, "committed": committed}


async def read(employee: Employee, key: str) -> str:
    """The explanation of what reading it raises."""
    engine = create_async_engine("postgresql+asyncpg://nobody@localhost:1/nothing")
    async with AsyncSession(engine) as session:
        session.add(employee)
        try:
            getattr(employee, key)
        except MissingGreenlet as error:
            found = explain(error)
            assert found is not None
            return found.render()
    raise LookupError(f"{key} was loaded")


def main(how: str, key: str) -> None:
    """Make one, and read it."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Manager(desk=Point(1, 2)))
        session.commit()
    with Session(engine) as session:
        employee = HOW[how](session)
        session.expunge(employee)
    print(asyncio.run(read(employee, key)))


if __name__ == "__main__":
    main(*sys.argv[1:])

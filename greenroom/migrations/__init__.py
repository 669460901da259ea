"""Tests of a project's migrations, made of nothing but the migrations: see docs/migrations.md.

`checks` has them. What Alembic does happens in a process of its own (`child`, spoken to by `process`), on one database that
is cloned afresh for each check (`states`).
"""

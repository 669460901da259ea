"""What the service does, apart from HTTP.

Every function takes an AsyncSession first and, where it is about somebody's own, that user's id; it commits what
it did and raises an error of app.errors when it cannot. The session knows the rest: whose application it is
(app.resources), and who acts (app.audit).
"""

"""`greenroom init`: what a repository tells about its application and its database, tried, and written down.

Reading (`repository`, `applications`, `variables`, `values`, `databases`, `sources`, `surroundings`, `packages`) imports nothing of
the project. `proposal` puts it together, `trial` tries it in the project's own interpreter, `section` writes it.
"""

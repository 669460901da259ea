"""An application that does nothing: this project is about its database."""


async def app(scope, receive, send):
    raise NotImplementedError

"""E-mail addresses: the one form that the many ways to write one have here."""

import re
import unicodedata

import idna

MAX_LENGTH = 254

# Those of Unicode's default ignorable characters that are no control or format characters: they show as nothing.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def normalised(address: str) -> str:
    """An address in lower case, in compatibility form (NFKC), and with its domain in Unicode.

    Raises ValueError for what can be no address: one with invisible characters, or with a domain that is none.
    """
    address = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", address.strip()).lower())
    hidden = any(unicodedata.category(character).startswith("C") for character in address)
    if hidden or _INVISIBLE.search(address):
        raise ValueError("Control characters and invisible ones are not allowed")
    local, _, domain = address.rpartition("@")
    if not domain.isascii() or "xn--" in domain:
        try:
            domain = idna.decode(idna.encode(domain, uts46=True))
        except UnicodeError as error:  # an IDNAError is one
            raise ValueError("This is no domain") from error
    domain = domain.removesuffix(".")  # the root's, which is the same domain
    if not all(domain.split(".")):
        raise ValueError("This is no domain")
    address = f"{local}@{domain}"
    if len(address) > MAX_LENGTH:  # some characters become many
        raise ValueError(f"An address has at most {MAX_LENGTH} characters")
    return address

"""E-mail addresses: the one form that the many ways to write one have here."""

import unicodedata

import idna

MAX_LENGTH = 254


def normalised(address: str) -> str:
    """An address in lower case, in compatibility form (NFKC), and with its domain in Unicode.

    Raises ValueError for what can be no address: one with invisible characters, or with a domain that is none.
    """
    address = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", address.strip()).lower())
    if any(unicodedata.category(character).startswith("C") for character in address):
        raise ValueError("Control characters and invisible ones are not allowed")
    local, _, domain = address.rpartition("@")
    if not domain.isascii() or "xn--" in domain:
        try:
            domain = idna.decode(idna.encode(domain, uts46=True))
        except UnicodeError as error:  # an IDNAError is one
            raise ValueError("This is no domain") from error
    address = f"{local}@{domain}"
    if len(address) > MAX_LENGTH:  # some characters become many
        raise ValueError(f"An address has at most {MAX_LENGTH} characters")
    return address

"""Nothing: what pytest itself takes for a test."""


def test_create(number):
    assert number >= 0

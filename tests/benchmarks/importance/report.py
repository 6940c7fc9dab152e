"""Stub."""


def write(console):
    raise NotImplementedError

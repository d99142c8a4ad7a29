"""A guard, how it is taken away, and the test that cries."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """`held` stands exactly once in `path`; with `gone` in its place `test` must fail."""

    name: str
    path: str
    held: str
    gone: str
    test: str

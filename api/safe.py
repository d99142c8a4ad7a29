"""Headers of every answer, unless its route says otherwise: nothing of it is kept, guessed at, framed or run."""

CSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# Of a page: one that brings its own style and nothing else.
PAGE_CSP = f"{CSP}; style-src 'unsafe-inline'"
ALWAYS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", CSP.encode()),
]


def add(headers: list[tuple[bytes, bytes]]) -> None:
    """What is not there already; names in lower case."""
    there = {name for name, _ in headers}
    headers += [each for each in ALWAYS if each[0] not in there]

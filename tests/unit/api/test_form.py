"""The push parser: the same form whatever the pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.form import Form
from core.contract.errors import BadInput

KIND = "multipart/form-data; boundary=xyz"
TRAP = b"\r\n--xy \r\n--xyzz-- \r\n-\r--xyz\r"
BODY = (
    b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="dir/\xc3\xa4.jsonl"\r\n'
    b"Content-Type: application/json\r\n\r\n" + TRAP[2:] + b"\r\n"
    b'--xyz\r\nContent-Disposition: form-data; name="palate[on_error]"\r\n\r\n\r\n--xyz--\r\n'
)


@given(st.lists(st.integers(0, len(BODY)), max_size=30))
def test_any_pieces(cuts: list[int]) -> None:
    form, file = Form(KIND), b""
    edges = [0, *sorted(cuts), len(BODY)]
    for start, end in pairwise(edges):
        file += b"".join(form.feed(BODY[start:end]))
    form.close()
    assert file == TRAP[2:]
    assert form.filename == "ä.jsonl"
    assert form.fields == {"purpose": "fine-tune", "palate[on_error]": ""}


def test_every_end_but_the_last_is_too_early() -> None:
    for end in range(len(BODY) - 4):
        form = Form(KIND)
        form.feed(BODY[:end])
        with pytest.raises(BadInput):
            form.close()


@given(st.binary(max_size=300))
def test_noise_is_refused_and_nothing_else(noise: bytes) -> None:
    form = Form(KIND)
    try:
        form.feed(b"--xyz\r\n" + noise)
        form.close()
    except BadInput:
        return
    assert b"--xyz--" in b"--xyz\r\n" + noise


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("gnp.\u202exe", "gnp.xe"),
        ("a\x1b[31mb\x07.jsonl", "a[31mb.jsonl"),
        (".", "upload"),
        ("a/..", "upload"),
        ("\u2066", "upload"),
        (" . ", "upload"),
        ("r\u00e4ti o.jsonl", "r\u00e4ti o.jsonl"),
    ],
)
def test_a_name_shows_as_what_it_is(sent: str, kept: str) -> None:
    form = Form(KIND)
    form.feed(BODY.replace("dir/\u00e4.jsonl".encode(), sent.encode()))
    form.close()
    assert form.filename == kept

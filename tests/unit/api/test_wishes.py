"""What an upload says about the layout of its file."""

import pytest

from api.form import Form
from api.wishes import judge
from core.contract.errors import BadInput

EDGE = "edge"


def options(**fields):
    body = b""
    for name, value in {"purpose": "fine-tune", **fields}.items():
        body += f'--{EDGE}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    body += f'--{EDGE}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--{EDGE}--\r\n'.encode()
    form = Form(f"multipart/form-data; boundary={EDGE}")
    form.feed(body)
    form.close()
    return judge(form, 1).options


def test_a_mapping_goes_along():
    told = options(**{"palate[mapping]": '{"prompt": "q", "answers": ["a", "b"], "pairs": "won"}'})
    assert told["mapping"] == {"prompt": "q", "answers": ["a", "b"], "pairs": "won"}
    assert "mapping" not in options()


@pytest.mark.parametrize(
    "wrong",
    ["{", "[" * 1000, '{"promt": "q"}', '{"prompt": "q"}', '{"prompt": "\\ud800"}', '{"id": "\\u0000"}', '{"id": 3}'],
)
def test_a_wrong_mapping_is_the_callers_mistake(wrong):
    with pytest.raises(BadInput) as error:
        options(**{"palate[mapping]": wrong})
    assert error.value.param == "palate[mapping]"


def test_a_format_and_a_mapping_that_do_not_suit_each_other():
    with pytest.raises(BadInput) as error:
        options(**{"palate[mapping]": '{"chosen": "a", "rejected": "b"}', "palate[format]": "openai_preference"})
    assert error.value.param == "palate[mapping]"


def test_raw_texts_and_a_layout_that_has_none():
    assert options(**{"palate[raw_text]": "true", "palate[format]": "plain_triple"})["raw_text"] is True
    assert "raw_text" not in options(**{"palate[raw_text]": "false"})
    with pytest.raises(BadInput) as error:
        options(**{"palate[raw_text]": "true", "palate[mapping]": '{"chosen": "a", "rejected": "b"}'})
    assert (error.value.code, error.value.param) == ("raw_text_not_texts", "palate[raw_text]")

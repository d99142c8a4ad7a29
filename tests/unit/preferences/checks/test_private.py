"""Addresses, numbers and keys: found by shape and checksum, shown masked, and nothing seen where nothing is."""

import json
import time

import pytest

from preferences.checks.private import masked, personal, secrets
from tests.unit.preferences.checks.planted import clean, dosed, found, report
from tests.unit.preferences.rows import check

BODY = "MIIEpAIBAAKCAQEA7bq0ZxL9fW3vTt1kUeR2yPdG5sHjQnMc"
# Made for the test in the shape of the real ones; written in parts, so that no scanner takes them for leaked keys.
KEYS = {
    "AWS Access Key": "AKIA" + "Q3EGRTUV7WPZ2LMK",
    "GitHub Token": "ghp" + "_h7Kq2Lw9Zr4Tx8Vb3Nm6Pd1Sf5Gj0Cy7Ua2Qe",
    "Slack Token": "xoxb" + "-2839405716-9182736450-Zk3vQ8mTn5rLw7Ys",
    "Stripe Access Key": "sk_" + "live_9vXq3LmT7rKz2WpN8bYc4HdS",
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + BODY * 3,
}
PERSONAL = {
    "e-mail": "maria.lindqvist@posteo.se",
    "phone": "+44 20 7946 0958",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "card": "4539 1488 0343 6467",
}


@pytest.mark.parametrize("kind", PERSONAL)
def test_personal_data_is_found_and_masked(kind):
    said = PERSONAL[kind]
    found = dict(personal(f"You can reach us so: {said}, at any time."))
    assert kind in found
    assert said not in found[kind]
    assert sum(letter in found[kind] for letter in said[5:12]) < 7


@pytest.mark.parametrize(
    "text",
    [
        "Order 4539 1488 0343 6468 has shipped.",
        "The IBAN DE89 3704 0044 0532 0130 01 has a wrong checksum.",
        "Write to someone@example.com or to info@shop.example.",
        "In 1914-1918 and 1939-1945; 3.14159265358979; 10.1000/182; 192.168.100.200; ISBN 978-3-16-148410-0",
        "The population was 1 402 112 000 in 2020 and 1 331 260 000 in 2009.",
        "f(x) = 12345678901234567890 * 10",
    ],
)
def test_numbers_that_are_nobody_s_are_left_alone(text):
    assert list(personal(text)) == []


@pytest.mark.parametrize("kind", KEYS)
def test_keys_are_found_and_never_shown(kind):
    key = KEYS[kind]
    told = list(secrets(f"Set it like this: token = {key} and restart."))
    assert told
    assert all(key[8:] not in shown and len(shown) < 60 for _, shown in told)


@pytest.mark.parametrize("end", ["\n", "\r\n", r"\n", r"\r\n", r"\\n"])
@pytest.mark.parametrize("head", ["", "Proc-Type: 4,ENCRYPTED{end}DEK-Info: AES-256-CBC,2FA0{end}{end}"])
def test_a_private_key_is_one_however_its_line_ends_are_written(end, head):
    begin, close = "-----BEGIN " + "PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    key = end.join([begin, head.format(end=end) + BODY, BODY, BODY[:20], close])
    said = f'{{"type": "service_account", "private_key": "{key}{end}"}}'
    assert [kind for kind, _ in secrets(said)] == ["private key"]
    assert BODY[:20] not in masked(said)


@pytest.mark.parametrize(
    "text",
    [
        "Use AKIAIOSFODNN7EXAMPLE as in the manual.",
        "A key begins with ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.",
        "The file begins with -----BEGIN RSA PRIVATE KEY----- and then the key follows, in base64.",
        "ASIA is a continent; the word AKIA means nothing; SG.x is not a key, sk_live_ neither.",
    ],
)
def test_talk_about_keys_is_no_key(text):
    assert list(secrets(text)) == []


def test_one_key_blocks_and_is_nowhere_in_the_report():
    key = KEYS["GitHub Token"]
    rows = clean(300)
    rows[41] = {**rows[41], "chosen": f"{rows[41]['chosen']} {key}"}
    made = report(rows)
    finding = next(each for each in made.checks if each.code == "secrets")
    assert (finding.severity, finding.count, [each.line for each in finding.examples]) == ("block", 1, [42])
    assert made.verdict.gate == "block"
    assert key not in made.model_dump_json()


def test_a_dose_of_addresses_is_counted_by_record():
    rows = dosed(clean(), 0.06, lambda row, draw: {**row, "rejected": f"{row['rejected']} anna.k@posteo.de, b@gmx.at"})
    finding = found(rows)["personal_data"]
    assert (finding.severity, finding.count, finding.share) == ("warn", 24, 0.06)
    assert finding.detail["kinds"] == {"e-mail": 24}


def test_records_of_one_line_are_counted_one_by_one():
    rows = dosed(clean(), 0.06, lambda row, draw: {**row, "rejected": f"{row['rejected']} anna.k@posteo.de"})
    made = check(json.dumps(rows).encode(), checks="all")
    assert next(each.count for each in made.checks if each.code == "personal_data") == 24


def test_a_clean_file_is_nobody_s():
    findings = found(clean())
    assert (findings["personal_data"].count, findings["secrets"].count) == (0, 0)
    assert findings["personal_data"].severity == findings["secrets"].severity == "info"


@pytest.mark.parametrize(
    "piece",
    ["//x/:_authToken", "ghp_", "a@b.", "+1 2 ", "4539 1488 ", "AB12 CD34 ", "-----BEGIN PRIVATE KEY-----", "x@"],
)
def test_text_made_to_be_slow_is_not(piece):
    text = piece * (400_000 // len(piece))
    begin = time.process_time()
    list(personal(text))
    list(secrets(text))
    assert time.process_time() - begin < 5


def test_a_key_with_a_long_head_is_not_slow():
    begin = time.process_time()
    list(secrets("-----BEGIN " + "PRIVATE KEY-----\n" + "a: " * 60 + "!"))
    assert time.process_time() - begin < 5

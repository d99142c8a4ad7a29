"""Guards between the embedded stack and other users of its machine, of keys, and of who owns what."""

from tests.guards.guard import Guard

CLOSED = "tests/integration/test_closed_stack.py::"
PRIVATE = "tests/unit/local/test_private.py::"
DOORS = "tests/integration/api/test_doors.py::"

GUARDS = [
    Guard(
        "the store's master signs no token for a stranger",
        "local/seaweed.py",
        '                "-disableHttp",\n',
        "",
        f"{CLOSED}test_no_http_port_serves_who_has_no_key",
    ),
    Guard(
        "the store's volumes ask for a token",
        "local/seaweed.py",
        '{name: {"key": key} for name, key in self.signing.items()}',
        '{name: {"key": ""} for name, key in self.signing.items()}',
        f"{CLOSED}test_no_http_port_serves_who_has_no_key",
    ),
    Guard(
        "the store's servers ask for a certificate",
        "local/seaweed.py",
        '{"ca": str(files["ca"])}',
        '{"ca": ""}',
        f"{CLOSED}test_no_grpc_port_speaks_with_who_has_no_certificate",
    ),
    Guard(
        "who serves is no superuser",
        "local/postgres.py",
        "LOGIN NOSUPERUSER",
        "LOGIN SUPERUSER",
        f"{CLOSED}test_who_serves_is_no_superuser",
    ),
    Guard(
        "a home that is there is closed",
        "local/private.py",
        "        os.fchmod(descriptor, 0o700)\n",
        "",
        f"{PRIVATE}test_a_home_that_is_there_is_closed_and_its_open_keys_told",
    ),
    Guard(
        "a home is its owner's",
        "local/private.py",
        "        _refuse_others(home, found)\n",
        "",
        f"{PRIVATE}test_a_home_of_another_user_is_refused[command0]",
    ),
    Guard(
        "an address that others can write is not believed",
        "local/private.py",
        " or found.st_mode & OTHERS_WRITE:\n            raise",
        ":\n            raise",
        f"{PRIVATE}test_an_address_that_others_may_have_written_is_not_believed[connection.json]",
    ),
    Guard(
        "what a part writes is its owner's",
        "local/child.py",
        "                umask=PRIVATE,\n",
        "",
        f"{PRIVATE}test_what_a_part_writes_is_its_owners",
    ),
    Guard(
        "what a worker writes is its owner's",
        "worker/workspace.py",
        "    os.umask(PRIVATE)\n",
        "",
        "tests/unit/worker/test_closed_folders.py::test_they_are_closed_and_what_is_written_below_too",
    ),
    Guard(
        "a key goes only to the address that it is for",
        "cli/service.py",
        "        if key and not url:\n",
        "        if False:\n",
        f"{PRIVATE}test_a_key_goes_only_where_it_is_sent",
    ),
    Guard(
        "an expired key is refused",
        "core/db/keys.py",
        "    if row.expired:\n",
        "    if False:\n",
        f"{DOORS}test_an_expired_key_says_so_to_who_has_its_secret",
    ),
    Guard(
        "the last use of a key is written once a minute",
        "core/db/keys.py",
        "Key.last_used_at < func.now() - timedelta(seconds=USED_SECONDS)",
        "Key.last_used_at < func.now() + timedelta(seconds=USED_SECONDS)",
        f"{DOORS}test_the_last_use_of_a_key_is_written_once_a_minute",
    ),
    Guard(
        "a link outlives a key by five minutes",
        "core/objects/store.py",
        "PRESIGNED_SECONDS = 300",
        "PRESIGNED_SECONDS = 3_600",
        "tests/integration/test_objects.py::test_a_presigned_url_lives_five_minutes",
    ),
    Guard(
        "a start does not print its key",
        "local/up.py",
        "Its address and an API key are in {self.home.connection}",
        "Its API key is {memory.api_key}, in {self.home.connection}",
        "tests/faults/test_palate_up.py::test_it_serves_alone_and_keeps_its_children",
    ),
]

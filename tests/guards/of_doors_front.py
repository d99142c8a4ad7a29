"""Guards before the key, and at the edges of HTTP: heads, connections, keys, buckets, hosts, headers."""

from tests.guards.guard import Guard

API, UNIT = "tests/integration/api/", "tests/unit/api/"
HEADS, RATES, WRONG_KEYS = f"{API}test_heads.py", f"{API}test_rates.py", f"{API}test_wrong_keys.py"

GUARDS = [
    Guard(
        "a head has so many bytes",
        "api/connection.py",
        "                if self._framing >= HEAD_BYTES:\n                    self._refuse(431)\n",
        "                self._framing = min(self._framing, HEAD_BYTES - 1)\n",
        f"{HEADS}::test_400_mib_that_are_no_request_cost_nothing",
    ),
    Guard(
        "a head has so many headers",
        "api/connection.py",
        "        if len(self.headers) >= HEADERS:\n",
        "        if False:\n",
        f"{HEADS}::test_as_large_as_a_head_may_be",
    ),
    Guard(
        "a head has so many seconds",
        "api/connection.py",
        "            self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)\n",
        "            self._deadline = None\n",
        f"{HEADS}::test_ten_seconds_for_a_head_and_as_long_as_one_likes_between_two",
    ),
    Guard(
        "what follows an answer has so many seconds",
        "api/connection.py",
        "                self._unset_keepalive_if_required()\n                self._hurry()\n",
        "                self._rest()\n",
        f"{HEADS}::test_ten_seconds_for_a_head_and_as_long_as_one_likes_between_two",
    ),
    Guard(
        "large heads share what they hold",
        "api/connection.py",
        "        if large > self._large and",
        "        if False and",
        f"{HEADS}::test_400_mib_on_many_connections_cost_nothing",
    ),
    Guard(
        "so many requests wait on a connection",
        "api/connection.py",
        "        if len(self.pipeline) >= PIPELINED:\n",
        "        if False:\n",
        f"{HEADS}::test_who_sends_many_before_the_first_is_answered",
    ),
    Guard(
        "the silent make room",
        "api/admission.py",
        "            self.leave(found)\n            found.evict()\n",
        "            return False\n",
        f"{UNIT}test_admission.py::test_who_holds_most_makes_room_among_its_own",
    ),
    Guard(
        "the crowd makes room, not the few",
        "api/admission.py",
        "sorted(self._of.values(), key=len, reverse=True)",
        "list(self._of.values())",
        f"{UNIT}test_admission.py::test_the_one_that_is_silent_for_longest_goes_of_the_address_that_holds_most",
    ),
    Guard(
        "the key comes first",
        "api/app.py",
        ', prefix="/v1", dependencies=[Depends(caller)])',
        ', prefix="/v1")',
        f"{API}test_key_first.py::test_a_broken_body_is_nobodys_business",
    ),
    Guard(
        "a large body is parsed in a thread",
        "api/body.py",
        "    if len(body) > IN_A_THREAD_BYTES:\n",
        "    if False:\n",
        f"{UNIT}test_body.py::test_a_large_one_is_parsed_in_a_thread",
    ),
    Guard(
        "wrong keys are slowed down",
        "api/auth.py",
        "        if not drawn.granted:\n",
        "        if False:\n",
        f"{WRONG_KEYS}::test_they_are_seen_and_slowed_down",
    ),
    Guard(
        "a wrong key is seen",
        "api/auth.py",
        "                self._refusals.count(address, WRONG_KEY, keys.id_of(token))\n",
        "",
        f"{WRONG_KEYS}::test_they_are_seen_and_slowed_down",
    ),
    Guard(
        "only a trusted proxy names addresses",
        "api/__main__.py",
        "        proxy_headers=bool(proxies),\n        forwarded_allow_ips=proxies,\n",
        '        forwarded_allow_ips="*",\n',
        f"{WRONG_KEYS}::test_they_are_seen_and_slowed_down",
    ),
    Guard(
        "requests of a key are bounded",
        "api/deps.py",
        "        if standing.again_in:\n",
        "        if False:\n",
        f"{RATES}::test_the_burst_is_served_and_the_rest_is_told_when_to_come",
    ),
    Guard(
        "all processes count in one bucket",
        "api/rates.py",
        "                drawn = await self._shared.draw(key_id, wanted)\n",
        "                drawn = self._own.draw(key_id, wanted)\n",
        f"{RATES}::test_many_at_once_get_no_more_than_there_is",
    ),
    Guard(
        "without Valkey each process counts",
        "api/rates.py",
        "            except Unavailable as error:\n",
        "            except ZeroDivisionError as error:\n",
        f"{RATES}::test_valkey_is_away",
    ),
    Guard(
        "a foreign name is not served on loopback",
        "api/envelope.py",
        '            if hosts is not None and not hosts.serves(scope["headers"]):\n',
        "            if False:\n",
        f"{API}test_safe.py::test_a_page_whose_name_was_turned_to_this_machine",
    ),
    Guard(
        "every answer says what a browser may do with it",
        "api/envelope.py",
        '            safe.add(message["headers"])\n',
        "",
        f"{API}test_safe.py::test_answers_of_all_kinds",
    ),
    Guard(
        "a link lives for minutes",
        "core/objects/store.py",
        "PRESIGNED_SECONDS = 300\n",
        "PRESIGNED_SECONDS = 3_600\n",
        "tests/integration/test_objects.py::test_urls_are_signed_for_the_public_name",
    ),
]

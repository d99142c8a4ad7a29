"""Requests of a key: so many at once and a second, counted in Valkey for all processes, and without it all the same."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import httpx
import openai
import pytest
import redis

from api.rates import PREFIX, WAIT_SECONDS, Rates
from core.buckets import Drawn, Rate, SharedBuckets, draw
from core.contract.errors import Unavailable
from tests.integration.api.conftest import Server, Tenant, error_of, serve, until
from tests.proxy import Proxy

BURST, PER_SECOND = 20, 2.0
LIMITS = {"PALATE_REQUESTS_PER_SECOND": str(PER_SECOND), "PALATE_REQUESTS_BURST": str(BURST)}
SLOW = Rate(per_second=0.01, burst=50)


@asynccontextmanager
async def opened(url: str, rate: Rate, prefix: str, seconds: float = 5.0) -> AsyncIterator[SharedBuckets]:
    buckets = SharedBuckets(url, rate, prefix, seconds)
    try:
        yield buckets
    finally:
        await buckets.close()


def test_valkey_draws_as_this_process_does(environment: dict[str, str], tenant: Tenant) -> None:
    wanted = [1, 7, 20, 3, 40, 1, 19, 1, 1]

    async def drawn() -> list[Drawn]:
        async with opened(environment["REDIS_URL"], SLOW, f"test:{tenant.key_id}:") as buckets:
            return [await buckets.draw("k", each) for each in wanted]

    lacks, here = 0.0, []
    for each in wanted:
        lacks, one = draw(lacks, each, SLOW)
        here.append(one)
    there = asyncio.run(drawn())
    assert [each.granted for each in there] == [each.granted for each in here] == [1, 7, 20, 3, 19, 0, 0, 0, 0]
    for one, other in zip(here, there, strict=True):
        assert (one.full_in, one.one_in) == pytest.approx((other.full_in, other.one_in), abs=20)
    with redis.Redis.from_url(environment["REDIS_URL"]) as client:
        left = client.pttl(f"test:{tenant.key_id}:k")
        assert 0 < left <= 1000 * SLOW.window + 1, "it is gone when it is full"


def test_many_at_once_get_no_more_than_there_is(environment: dict[str, str], tenant: Tenant) -> None:
    """Three processes' worth of askers, each with connections of its own."""

    async def admitted() -> int:
        rates = [Rates(SharedBuckets(environment["REDIS_URL"], SLOW, PREFIX, 5.0)) for _ in range(3)]
        answers = await asyncio.gather(*(each.ask(tenant.key_id) for each in rates for _ in range(40)))
        for each in rates:
            await each.close()
        return sum(not each.again_in for each in answers)

    assert asyncio.run(admitted()) == SLOW.burst


def test_a_valkey_that_hangs_is_given_up_in_time(environment: dict[str, str]) -> None:
    async def asked(url: str) -> float:
        async with opened(url, SLOW, "test:", WAIT_SECONDS) as buckets:
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await buckets.draw("k")
            return time.monotonic() - began

    with Proxy(environment["REDIS_URL"]) as proxy:
        proxy.hang()
        assert asyncio.run(asked(proxy.url)) < 1
        proxy.cut()
        assert asyncio.run(asked(proxy.url)) < 1


@pytest.fixture(scope="module")
def proxy(environment: dict[str, str]) -> Iterator[Proxy]:
    with Proxy(environment["REDIS_URL"]) as between:
        yield between


@pytest.fixture(scope="module")
def limited(environment: dict[str, str], proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("limited") / "log"
    with serve({**environment, **LIMITS, "REDIS_URL": proxy.url}, log) as running:
        yield running


@pytest.fixture
def key(limited: Server, tenant: Tenant) -> Iterator[httpx.Client]:
    """Of a key that nobody has used."""
    with httpx.Client(base_url=limited.url, headers={"authorization": f"Bearer {tenant.token}"}) as client:
        yield client


def test_the_burst_is_served_and_the_rest_is_told_when_to_come(
    key: httpx.Client, limited: Server, tenants: Callable[[], Tenant]
) -> None:
    answers = [key.get("/v1/models") for _ in range(BURST)]
    assert [each.status_code for each in answers] == [200] * BURST
    left = [int(each.headers["x-ratelimit-remaining-requests"]) for each in answers]
    assert left[0] == BURST - 1
    assert left == sorted(left, reverse=True)
    refused = key.get("/v1/files/nobody")
    while refused.status_code != 429:  # what the clock gave back meanwhile
        refused = key.get("/v1/files/nobody")
    assert error_of(refused)["code"] == "rate_limit_exceeded"
    assert error_of(refused)["type"] == "rate_limit_error"
    assert f"{BURST} requests" in error_of(refused)["message"]
    assert 0 < int(refused.headers["retry-after"]) < 60
    assert "x-should-retry" not in refused.headers
    assert refused.headers["x-ratelimit-limit-requests"] == str(BURST)
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.headers["x-ratelimit-reset-requests"].endswith("ms")
    assert refused.headers["ratelimit-policy"] == f'"requests";q={BURST};w={BURST / PER_SECOND:.0f}'
    assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
    other = {"authorization": f"Bearer {tenants().token}"}
    assert httpx.get(f"{limited.url}/v1/models", headers=other).status_code == 200
    assert "x-ratelimit-limit-requests" not in httpx.get(f"{limited.url}/healthz").headers
    with openai.OpenAI(base_url=f"{limited.url}/v1", api_key=key.headers["authorization"][7:]) as sdk:
        sdk.models.list()  # it comes again by itself


def test_another_process_counts_in_the_same_bucket(key: httpx.Client, proxy: Proxy, tenant: Tenant) -> None:
    async def emptied() -> int:
        async with opened(proxy.url, Rate(PER_SECOND, BURST), PREFIX) as buckets:
            return (await buckets.draw(tenant.key_id, 1_000)).granted

    assert asyncio.run(emptied()) == BURST
    assert key.get("/v1/models").status_code == 429


@pytest.mark.parametrize("fault", ["cut", "hang"])
def test_valkey_is_away(fault: str, key: httpx.Client, limited: Server, proxy: Proxy, tenant: Tenant) -> None:
    """No request fails or waits for it, all are counted, and the log has one row for it."""
    rows = limited.log.read_text().count("counts requests by itself")
    back = limited.log.read_text().count("for all processes together again")
    getattr(proxy, fault)()
    try:
        began = time.monotonic()
        answers = [key.get("/v1/models").status_code for _ in range(3 * BURST)]
        assert time.monotonic() - began < 10
        assert answers[:BURST] == [200] * BURST
        assert set(answers[BURST:]) <= {200, 429}
        assert answers[BURST:].count(429) > BURST
    finally:
        proxy.heal()
    assert limited.log.read_text().count("counts requests by itself") == rows + 1

    def counted_again() -> bool:
        key.get("/v1/models")
        return limited.log.read_text().count("for all processes together again") == back + 1

    until(counted_again)

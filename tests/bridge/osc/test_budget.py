"""How much leaves for hosts whose address may be forged."""

from bridge.osc.budget import BURST_BYTES, BYTES_PER_SECOND, MAX_HOSTS, SendBudget


def test_a_host_gets_its_burst_then_its_rate_and_refusals_are_counted():
    now = [0.0]
    budget = SendBudget(lambda: now[0])
    sent = sum(1_000 for _ in range(1_000) if budget.allows("192.0.2.1", 9_000, 1_000))
    assert BURST_BYTES - 1_000 < sent <= BURST_BYTES
    assert budget.dropped == 1_000 - sent // 1_000
    now[0] += 1.0
    more = sum(1_000 for _ in range(1_000) if budget.allows("192.0.2.1", 9_000, 1_000))
    assert BYTES_PER_SECOND - 1_000 <= more <= BYTES_PER_SECOND + 1_000
    assert budget.allows("192.0.2.2", 9_000, 1_000)


def test_this_machine_is_not_bounded():
    budget = SendBudget(lambda: 0.0)
    for host in ("127.0.0.1", "::1", "127.1.2.3"):
        assert all(budget.allows(host, 9_000, 10_000) for _ in range(100))
    assert budget.dropped == 0


def test_ports_of_services_are_not_answered():
    budget = SendBudget(lambda: 0.0)
    assert not budget.allows("127.0.0.1", 7, 10)
    assert not budget.allows("127.0.0.1", 0, 10)
    assert budget.dropped == 2


def test_hosts_remembered_are_bounded():
    budget = SendBudget(lambda: 0.0)
    for number in range(MAX_HOSTS + 10):
        budget.allows(f"10.0.{number // 256}.{number % 256}", 9_000, 1)
    assert len(budget._left) == MAX_HOSTS

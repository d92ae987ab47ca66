"""Graphs of networks: the bytes of the function, whatever the shape and the thread."""

import threading

import pytest
import torch

from model.traced import Traced


@pytest.mark.parametrize("frames", [1, 7, 300])
def test_a_graph_makes_what_its_function_makes(frames):
    torch.manual_seed(frames)
    layers = torch.nn.Sequential(
        torch.nn.Conv1d(3, 8, 3, padding=1), torch.nn.GELU(), torch.nn.Conv1d(8, 2, 1)
    ).requires_grad_(requires_grad=False)
    traced = Traced(layers)
    with torch.no_grad():
        for _ in range(4):
            given = torch.randn(1, 3, frames)
            assert torch.equal(traced(given), layers(given))


def test_each_shape_is_traced_once():
    called = []

    def network(given):
        called.append(tuple(given.shape))
        return given.flip(-1)

    traced = Traced(network)
    for frames in (4, 5, 4, 5, 4):
        assert traced(torch.arange(frames)).tolist() == list(range(frames))[::-1]
    assert called == [(4,), (5,)]


def test_many_threads_may_ask_at_once():
    traced, made = Traced(lambda given: given.cumsum(-1)), []

    def ask(frames):
        made.extend(int(traced(torch.ones(frames))[-1]) - frames for _ in range(20))

    threads = [threading.Thread(target=ask, args=(1 + number % 3,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [0] * 240


@pytest.mark.filterwarnings("error")
def test_graphs_traced_at_once_keep_each_other_s_warnings_away():
    """Tracing warns of what it fixes; whether that shows is one setting for all threads."""

    def network(given):
        for _ in range(50):
            given = given + float(given.shape[0] > 0)
        return given

    failed = []

    def ask():
        for frames in range(1, 8):
            try:
                Traced(network)(torch.ones(frames))
            except Warning as warning:
                failed.append(warning)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed

"""What the model's tests share: the smallest model, made once."""

import pytest
import torch

from tests.model.tiny import remembering_bundle, tiny_bundle, tiny_generator


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def bundle():
    """Return a random model of the smallest size; no test may change it."""
    return tiny_bundle()


@pytest.fixture(scope="session")
def generator(bundle):
    """Return the door to it."""
    return tiny_generator(bundle)


@pytest.fixture(scope="session")
def remembering():
    """Return the door to a model that remembers 8 s, as the shipped one does."""
    return tiny_generator(remembering_bundle())


@pytest.fixture(scope="session", params=[torch.float32, torch.bfloat16], ids=["single", "half"])
def either(request):
    """Return the door to a model whose codec computes in single or in half precision."""
    return tiny_generator(tiny_bundle(dtype=request.param))

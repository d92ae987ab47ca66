"""Chains of plugins, as the rest of the bridge sees them: audio in, audio out."""

from collections.abc import Callable
from pathlib import Path

import plugin_host
from bridge.app.rows import translated_errors
from bridge.errors import NotReadyError
from bridge.ports import Audio


def open_chain(path: Path, sample_rate: int, num_channels: int) -> Callable[[Audio], Audio]:
    """Return what runs whole audio, once, through the plugins of a chain file, without their delay.

    They live in a process of their own: a crash of theirs is an error, and no more.

    Raises:
        InvalidRequestError: The file or a parameter of it.
        NotFoundError: A plugin that does not exist.
        NotReadyError: A plugin that cannot be opened; from the call, one that failed on the way.
    """
    with translated_errors():
        specs = plugin_host.read_chain_file(path)
        chain = plugin_host.IsolatedChain(specs, sample_rate=sample_rate, num_channels=num_channels)

    def render(audio: Audio) -> Audio:
        with chain, translated_errors():
            wet = chain.render(audio)
        for report in chain.reports:
            raise NotReadyError(
                f"the plugin {report.plugin} (number {report.position} of the chain) failed at "
                f"sample {report.start_sample}: {report.reason}"
            )
        return wet

    return render

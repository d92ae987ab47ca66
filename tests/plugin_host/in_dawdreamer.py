"""Plays samples through a plugin in DawDreamer, in a process of its own: JUCE is there only once.

Arguments: the plugin, the samples (npy, float32, 2 channels), where the result goes, the sample at
which Continue is switched on, and NAME=VALUE for parameters between 0 and 1.
"""

import sys

import numpy as np

RATE = 48_000


def main(plugin_path: str, samples_path: str, result_path: str, press: str, *settings: str) -> None:
    """Play, and write what came out."""
    import dawdreamer

    samples = np.load(samples_path)
    engine = dawdreamer.RenderEngine(RATE, 512)
    engine.set_bpm(120.0)
    source = engine.make_playback_processor("source", samples)
    plugin = engine.make_plugin_processor("plugin", plugin_path)
    numbers = {row["name"]: row["index"] for row in plugin.get_parameters_description()}
    for setting in settings:
        name, value = setting.split("=")
        plugin.set_parameter(numbers[name], float(value))
    pressed = np.arange(samples.shape[1]) >= int(press)
    plugin.set_automation(numbers["Continue"], pressed.astype(np.float32))
    engine.load_graph([(source, []), (plugin, ["source"])])
    engine.render(samples.shape[1] / RATE)
    np.save(result_path, engine.get_audio())


if __name__ == "__main__":
    main(*sys.argv[1:])

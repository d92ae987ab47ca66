"""The commands of `jukebox-bridge`: a module each, with `add_arguments` and `run`."""

"""Training data of the shipped model: scores and generated music to audio and labels."""

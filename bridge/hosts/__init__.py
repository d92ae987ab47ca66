"""The music programs (hosts): one contract, an adapter for each, and what is done through it."""

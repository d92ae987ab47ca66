"""Measures what a model makes of music it has never heard, beside the truth and beside toys."""

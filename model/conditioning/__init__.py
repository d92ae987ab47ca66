"""What steers the model besides codes: labels, timing, notes, stems."""

"""Run directories: their files, checkpoints, records, and terminal output."""

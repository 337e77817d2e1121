"""The table of docs/evidence.md."""

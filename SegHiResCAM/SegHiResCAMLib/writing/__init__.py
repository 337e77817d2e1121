"""The one place that puts files on the disk: whole results and files or none, no input overwritten, nothing left behind; the standard library."""

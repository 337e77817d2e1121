"""A reader study: which cases are read in which order, what is asked of each, and the answers; the standard library, records and writing."""

"""SegHiResCAM: why did the network outline this? The rooms of the library; importing this package imports nothing."""

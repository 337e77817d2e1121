"""From a file or folder the user has to a `SegmentationModel`; every file is hostile until read."""

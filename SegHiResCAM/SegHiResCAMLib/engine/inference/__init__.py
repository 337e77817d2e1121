"""From a model and a volume to a segmentation: preprocessing, windows, memory, device; may import models and images."""

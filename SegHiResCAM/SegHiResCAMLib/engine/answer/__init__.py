"""The question and its answer: all that joins a model, a segmentation and a heat map; may import every other room of the engine."""

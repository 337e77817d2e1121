"""nnU-Net v2 results, read without nnU-Net; may import the rest of models."""

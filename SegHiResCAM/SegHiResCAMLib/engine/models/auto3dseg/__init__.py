"""Auto3DSeg's SegResNet checkpoints; may import the rest of models."""

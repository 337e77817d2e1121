"""The models that are known by name, and their download; may import the rest of models."""

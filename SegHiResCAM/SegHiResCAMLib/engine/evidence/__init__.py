"""How far to believe a map: what happens to a prediction when the image or the weights change; may import every other room of the engine."""

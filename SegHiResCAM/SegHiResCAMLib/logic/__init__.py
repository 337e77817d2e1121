"""Nodes in, nodes out: the scene and the worker together; may import scene and the worker's client, never torch, the engine or Qt."""

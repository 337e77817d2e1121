"""What the user sees in 3D Slicer; may import qt, ctk, slicer, scene and the worker's client, never torch, monai or the engine."""

"""The computation: volumes, models, segmentation and heat maps; may import torch, monai, SimpleITK and numpy, never Slicer, VTK or Qt."""

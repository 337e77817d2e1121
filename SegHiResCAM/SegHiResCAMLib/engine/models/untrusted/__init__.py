"""What strangers wrote, read without running it: archives, pickles, scripts, configurations; may import torch, and no other part of models."""

"""Volumes: files and DICOM series in and out, and resampling; may import SimpleITK, nibabel, pydicom, highdicom, and no other room of the engine."""

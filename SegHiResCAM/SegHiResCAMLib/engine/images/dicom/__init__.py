"""DICOM: series read as volumes, heat maps and segmentations written beside them; may import what images may."""

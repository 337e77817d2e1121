"""Pages for the browser, each one file that needs nothing else; numpy, scipy and nibabel, never torch, Slicer or Qt."""

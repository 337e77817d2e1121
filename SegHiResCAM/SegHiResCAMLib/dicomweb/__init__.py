"""A PACS, reached by DICOMweb: series come from it, results are stored in it; imports dicomweb-client, requests and pydicom, and no engine."""

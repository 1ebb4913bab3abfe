"""Reports of the sample models as hashes, frozen before a change of structure."""

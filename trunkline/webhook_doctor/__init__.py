"""`trunkline doctor webhook`: why a captured delivery was let in or refused, in names and lengths, never in values."""

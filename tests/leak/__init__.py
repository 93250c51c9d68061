"""Nothing grows with the number of batches."""

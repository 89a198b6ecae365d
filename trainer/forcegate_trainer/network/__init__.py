"""PaiNN with its gradient written out: one readable source for training, export and serving."""

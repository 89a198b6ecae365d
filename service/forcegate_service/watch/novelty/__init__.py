"""How novel what models are asked is, and how unlike the training set."""

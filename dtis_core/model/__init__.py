"""The paper, and nothing else: an image model of layers and sprites, and the network that reads it.

Holds Eq. (1) and (2), sprites, transformations (Eq. 3), encoders, the predictor, Algorithm 1 and
exhaustive search, and the model with its objective (Eq. 4 and 5).
May import: config, errors.
"""

"""Rivals, on the very images that our models learn from: Slot Attention, and K-means.

Written here from what was published, and trained by `dtis baseline`. Nothing of our model is in it.
May import: config, errors, storage, paths, pictures, datasets, runs, training and scoring.
"""

"""Ours: better ways to seek a scene than one prediction and one run of Algorithm 1.

Holds residual looks, greedy and exhaustive search among them, turns, sought depths, polishing and
quarter turns of the image.
May import: config, errors, model.
"""

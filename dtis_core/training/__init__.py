"""How a model learns: the loop, its schedules, and what is done to sprites on the way.

Holds the trainer, whole runs (checkpoints, progress, health) and settings for own images.
May import: config, errors, storage, paths, threads, pictures, datasets, model, search, runs.
"""

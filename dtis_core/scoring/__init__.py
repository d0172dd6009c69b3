"""How good a model is: metrics, scores of runs, and the tables of results.

May import: config, errors, storage, paths, pictures, datasets, model, search, runs,
training and scenes.
"""

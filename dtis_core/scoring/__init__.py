"""How good a model is: metrics, scores of runs, and the tables of results.

May import: config, errors, files, paths, pictures, datasets, model, search, runs, scenes.
"""

"""What a training run leaves behind: its folder, its weights, its records.

Holds run folders, safe tensor files and the runs that come with the clone.
May import: config, errors, files, locks, paths, pictures, weights, model, search.
"""

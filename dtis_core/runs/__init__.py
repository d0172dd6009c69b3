"""What a training run leaves behind: its folder, its weights, its records.

Holds run folders, safe tensor files and the runs that come with the clone.
May import: config, errors, storage, paths, pictures, model, search.
"""

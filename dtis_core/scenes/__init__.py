"""What users hold in their hands: a trained model, the scenes it finds, and edits of them.

Holds runs ready for use, scenes, changes of one object, edited scenes and their JSON.
May import: config, errors, files, paths, pictures, model, search, runs.
"""

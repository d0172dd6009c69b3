"""What users hold in their hands: a trained model, the scenes it finds, and edits of them.

Holds runs ready for use, scenes and their edits, changes of one object, histories and JSON.
May import: config, errors, storage, paths, threads, pictures, model, search, runs.
"""

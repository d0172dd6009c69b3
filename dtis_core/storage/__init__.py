"""Safe files: written whole or not at all, one writer at a time, and weights without pickle.

May import: errors and paths.
"""

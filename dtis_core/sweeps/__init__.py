"""Many runs by one command: a grid of presets, settings and seeds, on a cluster of workers.

Holds the grid, what a worker does for one run of it, and the sweep itself, which Dask carries out.
May import: all but display, workbook and cli.
"""

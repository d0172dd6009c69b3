"""The notebooks as a batch: run them, skip what is up to date, publish what they make.

May import: all but sweeps, bench and cli.
"""

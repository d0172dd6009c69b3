"""How fast it is: a training step beside its encoder, and the editor's sliders.

May import: all but sweeps, workbook and cli.
"""

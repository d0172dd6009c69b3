"""What people see: figures, widgets, the scene editor and the monitor of a training run.

May import: all but sweeps, workbook, bench and cli. Only workbook, bench and cli may import it.
"""

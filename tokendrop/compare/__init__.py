"""The comparison: a grid of runs, their records, tables, figures and the report."""

"""The report as one HTML file that needs no network: figures, their definitions, their tables."""

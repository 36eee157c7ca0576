"""The report: one HTML file with the verdict, the numbers and the pictures, and nothing outside."""

from tokendrop.compare.report.page import write_report
from tokendrop.compare.report.verdict import verdict

__all__ = ["verdict", "write_report"]

"""The report: one HTML file with the verdict, the numbers and the pictures, and nothing outside."""

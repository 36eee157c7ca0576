"""One module for each command of the command line, with a function ``run``."""

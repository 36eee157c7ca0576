"""One module for each command of the command line, with functions ``parser`` and ``run``."""

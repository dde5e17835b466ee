"""What `xrayct` ends with, other than 0."""

BAD_INPUT = 2
INTERRUPTED = 130  # what shells report for a program stopped by Ctrl-C

"""Files in and out, in LPS millimetres."""

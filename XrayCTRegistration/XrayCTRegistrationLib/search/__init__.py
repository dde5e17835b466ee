"""Ways to move a pose: global search, descent by Levenberg-Marquardt, and CMA-ES."""

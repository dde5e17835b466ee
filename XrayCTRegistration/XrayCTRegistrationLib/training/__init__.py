"""Training of the learned similarity: anatomies, poses, X-ray realism, and the trainer."""

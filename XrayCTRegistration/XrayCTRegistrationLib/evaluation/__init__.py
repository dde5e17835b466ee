"""Evaluation: simulated X-rays of CTs at known poses, their registration, and the tables and figure of the errors."""

"""Closed-loop HTTP load."""

"""Drills: something goes wrong on purpose, and what the platform does about it is watched and judged."""

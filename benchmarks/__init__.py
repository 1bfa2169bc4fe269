"""What this platform carries on one machine, side by side with peers, in the same run: ``make bench``."""

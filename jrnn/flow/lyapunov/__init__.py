"""The exponents of a run: how fast directions of the state space grow or shrink in the long run."""

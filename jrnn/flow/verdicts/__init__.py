"""What arrives at a lag, how fast it decays on the way, and the verdict in words."""

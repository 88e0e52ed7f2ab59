"""Which output's gradient reaches which state, split exactly by output and by lag."""

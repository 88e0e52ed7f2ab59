"""What closed forms and the network's own numbers lead one to expect."""

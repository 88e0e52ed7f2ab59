"""What a network does with its state: where it rests, and in how many directions it moves."""

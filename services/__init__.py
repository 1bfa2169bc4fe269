"""What runs: producers, consumers, functions and the clients around them."""

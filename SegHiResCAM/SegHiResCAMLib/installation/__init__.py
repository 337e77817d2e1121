"""What the engine needs, whether it is there, and how it gets there; imports only the standard library, since it runs where nothing is installed yet."""

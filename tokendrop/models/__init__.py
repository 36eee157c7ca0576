"""Models: an encoder with its head, a reducer and a tokenizer, from and to folders."""

"""Documents and what they mean together: pure, no input or output."""

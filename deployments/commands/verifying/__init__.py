"""Commands that put contacts into the queue and verify them."""

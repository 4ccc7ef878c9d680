"""Times that a person waits for, in this tree and at an earlier commit."""

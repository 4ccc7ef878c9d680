"""One revision a module, in order; a revision that has been released is never changed."""

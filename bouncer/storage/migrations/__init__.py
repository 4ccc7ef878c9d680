"""The revisions of the tables, and the steps that they are made of."""

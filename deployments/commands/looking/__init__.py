"""Commands that show and hand out what there is."""

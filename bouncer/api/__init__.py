"""All that speaks to Bouncer's API."""

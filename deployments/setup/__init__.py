"""Getting a place ready: blocks, limits, work pool, automations, deployments."""

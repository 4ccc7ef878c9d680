"""The pretended service behind the sandbox's HTTP interface."""

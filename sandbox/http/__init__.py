"""HTTP interface of the sandbox."""

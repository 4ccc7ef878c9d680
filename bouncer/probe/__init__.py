"""The probe: asks an account whether it behaves as ``docs/reference/bouncer.md`` says, at no cost."""

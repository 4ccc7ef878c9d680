"""What a run needs from outside, typed: the Bouncer account and the contacts database."""

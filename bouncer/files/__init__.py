"""Files of people: lists that come in, verdicts that go out."""

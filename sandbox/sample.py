"""A sample of contacts as a company has them: a few big providers, many companies, some lists of one domain."""

import csv
from pathlib import Path

import numpy as np

__all__ = ["write_sample"]

_PROVIDERS = {
    "gmail.com": 0.31,
    "yahoo.com": 0.09,
    "hotmail.com": 0.07,
    "outlook.com": 0.06,
    "icloud.com": 0.04,
    "aol.com": 0.02,
    "gmx.de": 0.02,
    "web.de": 0.015,
    "wp.pl": 0.015,
    "orange.fr": 0.01,
    "mailinator.com": 0.003,
    "gmial.com": 0.002,
}
_FIRST = ["anna", "ben", "carla", "david", "emma", "felix", "greta", "hugo", "ida", "jonas", "klara", "leo", "mia"]
_LAST = ["adams", "berg", "costa", "dubois", "evans", "fischer", "garcia", "haas", "ito", "jensen", "lang", "meyer"]
_WORDS = ["acme", "atlas", "baltic", "cedar", "delta", "ember", "fjord", "granite", "harbor", "indigo", "juniper"]
_ENDINGS = ["com", "com", "com", "de", "fr", "pl", "co.uk", "org", "io", "net"]


def write_sample(path: Path, contacts: int, seed: int = 1, *, free: bool = False) -> None:
    """Writes a CSV file of made-up contacts, each address once, the same for the same arguments.

    Args:
        path: The file.
        contacts: How many.
        seed: Another seed, other contacts.
        free: Only addresses that the real Bouncer answers at no cost: its sandbox addresses.
    """
    chance = np.random.default_rng(seed)
    first = chance.choice(_FIRST, contacts)
    last = chance.choice(_LAST, contacts)
    domains = _sandbox_domains(contacts) if free else _domains(chance, contacts)
    kinds = chance.choice(["deliverable", "undeliverable", "accept-all", "unknown"], contacts, p=[0.7, 0.15, 0.1, 0.05])
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "first_name", "last_name", "email", "company"])
        for number in range(contacts):
            local = f"{kinds[number]}+{number}" if free else f"{first[number]}.{last[number]}{number}"
            domain = domains[number]
            company = domain.partition(".")[0].replace("-", " ").title()
            rows.writerow([number + 1, first[number].title(), last[number].title(), f"{local}@{domain}", company])


def _sandbox_domains(contacts: int) -> list[str]:
    return ["sandbox.usebouncer.com"] * contacts


def _domains(chance: np.random.Generator, contacts: int) -> list[str]:
    companies = max(1, contacts // 8)
    words = chance.choice(_WORDS, (companies, 2))
    endings = chance.choice(_ENDINGS, companies)
    names = [f"{a}-{b}-{i}.{end}" for i, ((a, b), end) in enumerate(zip(words, endings, strict=True))]
    # A few companies are large and many are one person: sizes fall off as in Zipf's law.
    weights = 1 / np.arange(1, companies + 1) ** 0.9
    shares = np.array(list(_PROVIDERS.values()))
    of_company = (1 - shares.sum()) * weights / weights.sum()
    everything = np.array([*_PROVIDERS, *names])
    return [str(d) for d in chance.choice(everything, contacts, p=np.concatenate([shares, of_company]))]

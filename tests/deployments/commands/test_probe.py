"""The command probe: against a sandbox as documented, and against one that is not."""

from pathlib import Path

from tests.bouncer.probe.asking import probed_sandbox
from tests.deployments.running_commands import clean_environment, run


def test_the_probe_of_a_sandbox(tmp_path: Path) -> None:
    """As documented: exit code 0. Served side by side: 1, with what was expected, what was seen and what it means."""
    # Longer than the two seconds between looks, or the second batch is never seen processing.
    with probed_sandbox(fixed_seconds=4.0) as sandbox:
        environment = clean_environment(tmp_path, BOUNCER_API_KEY=sandbox.key, BOUNCER_API_BASE_URL=sandbox.url)
        transcript = tmp_path / "transcript.jsonl"
        as_documented = run(["probe", "--json", "--transcript", str(transcript)], environment)
        assert as_documented.code == 0, as_documented.err
        outcomes = {finding["outcome"] for finding in as_documented.answer["findings"]}
        assert (as_documented.answer["differences"], outcomes) == (0, {"as expected"})
        assert len(transcript.read_text().splitlines()) > 25
        assert sandbox.key not in transcript.read_text() + as_documented.err

        # A minute of its calls for the credits is used up.
        sandbox.post("/_sandbox/reset")
        sandbox.post("/_sandbox/settings", {"parallel": 2})
        side_by_side = run(["probe", "--transcript", str(transcript)], environment)
        assert side_by_side.code == 1, side_by_side.err
        assert "DIFFERS  one-after-another" in side_by_side.out
        assert "for us: this account is served side by side: nothing to do" in side_by_side.out
        assert "34 as expected, 1 different, 0 not tried" in side_by_side.out

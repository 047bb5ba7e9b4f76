"""Long experiments with a report: `python -m tests.campaigns.kills`; short forms run as tests."""

"""The conformance suites, and what they stand on."""

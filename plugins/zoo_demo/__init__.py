"""The demo page: `zoo demo`."""

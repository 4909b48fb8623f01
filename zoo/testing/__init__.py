"""The conformance kit: what every model of the zoo must show, ours and third parties' alike.

`zoo check <model>` prints the report; a plugin's own test suite needs only::

    from zoo.testing import check
    def test_conformance():
        assert not [result for result in check("my_model") if result.status == "fail"]
"""

from __future__ import annotations

from zoo.testing.kit import CHECKS, NotApplicableError, Result, check, expect, random_images, tiny

__all__ = ["CHECKS", "NotApplicableError", "Result", "check", "expect", "random_images", "tiny"]

"""``/docs`` in a real browser that reaches nothing but the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.browser import browser

# Needs a browser.
pytestmark = pytest.mark.system

BODY = ".opblock-body textarea"
STATUS = ".live-responses-table .response td.response-col_status"


def test_the_interface_is_shown_and_tried_without_a_network(tmp_path: Path) -> None:
    write_fake_model(tmp_path / "models", name="painn_base")
    (tmp_path / "profile").mkdir()
    settings = Settings(model_repository=tmp_path / "models", runtime="fake")
    with running_gateway(settings) as url, browser(tmp_path / "profile") as page:
        page.open(f"{url}/docs")
        page.until("document.querySelectorAll('.opblock').length > 5")
        page.click("#operations-predictions-predict_v1_predict_post .opblock-summary-control")
        # The form is drawn piece by piece: with no body in it yet, a click sends nothing.
        page.until(f"(document.querySelector('{BODY}')?.value ?? '') !== ''")
        # Its own click, not the mouse's: the page is still moving while its schemas are drawn.
        page.click(".opblock-body .execute")
        page.until(f"document.querySelector('{STATUS}') !== null")
        assert page.text(STATUS).startswith("200")
        assert page.requested
        assert [asked for asked in page.requested if not asked.startswith((url, "data:"))] == []
        assert page.errors == []

"""A notebook of one cell, run in a JupyterLab of its own, in Chromium."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import nbformat
import pytest
from browser_page import CHROMIUM, FLAGS
from nbformat.v4 import new_code_cell, new_notebook

QUIET = [
    "--disable-quic", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
WAIT = 240  # seconds, for a machine that does other things
RUN = """async () => {
  await jupyterapp.shell.currentWidget.sessionContext.ready;
  await jupyterapp.commands.execute('notebook:run-all-cells');
}"""


@contextmanager
def notebook_in_lab(place, cell):
    """Run a cell and open its page, which must have nothing to complain about in the end.

    The notebook's folder is `notebooks` in an empty folder `place`.
    """
    if not CHROMIUM:
        pytest.skip("no chromium on the path; DTIS_CHROMIUM may name one")
    sync = pytest.importorskip("playwright.sync_api", reason="pip install 'dtis[browser]'")
    home, folder = place / "home", place / "notebooks"
    folder.mkdir()
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=[new_code_cell(cell)], metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "one.ipynb")
    errors = []
    with lab(home, folder) as address, sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, *QUIET], timeout=1000 * WAIT
        )
        context = browser.new_context(viewport={"width": 1300, "height": 1100})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.set_default_timeout(1000 * WAIT)
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}/lab/tree/one.ipynb", wait_until="commit")
        page.locator(".jp-Notebook .cm-content").first.wait_for()
        page.evaluate(RUN)
        yield page
        browser.close()
    assert not errors, errors


@contextmanager
def lab(home, folder):
    """Start a JupyterLab over a folder, with settings in `home`; yield its address."""
    settings = home / "config" / "labconfig"
    settings.mkdir(parents=True)
    off = {"@jupyterlab/apputils-extension:announcements": True}  # it would ask the network
    (settings / "page_config.json").write_text(json.dumps({"disabledExtensions": off}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    environment.pop("DTIS_FIGURES", None)  # someone watches
    options = [
        "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}",
        "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    command = [sys.executable, "-m", "jupyter", "lab", *options]
    with open(home / "log", "w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for_server(address, server, home / "log")
        yield address
    finally:
        server.terminate()
        server.wait(60)


def wait_for_server(address, server, log):
    end = time.monotonic() + WAIT
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api", timeout=10).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")

"""An extension of the Jupyter server by which pictures follow sliders at once.

TCP holds a small message back until the one before is acknowledged (Nagle's algorithm), and a
browser acknowledges late, to do so along with an answer of its own: on Linux after 40 ms. A kernel
that answers a slider sends several small messages, so most pictures came those 40 ms later.
`make setup` enables it by jupyter_server.json.
"""

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

CLASS = "kernel_websocket_connection_class"  # the server's setting


class PromptConnection(ZMQChannelsWebsocketConnection):
    """The server's connection between a kernel and a browser, without that delay."""

    def connect(self):
        """Connect as ever."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server) -> None:
    """Use it, unless the server has been given a connection of another kind."""
    settings = server.web_app.settings
    if settings.get(CLASS) is ZMQChannelsWebsocketConnection:
        settings[CLASS] = PromptConnection

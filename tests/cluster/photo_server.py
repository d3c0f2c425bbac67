"""A web server on this machine that serves the files of a folder, and lists folders as pages."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class PhotoServer:
    """Serves inside the block.

    Args:
        folder: what is served.
        before: called with each path before it is answered; if it returns False, no answer comes.
    """

    def __init__(self, folder, before=lambda path: True):
        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self):
                if before(unquote(urlsplit(self.path).path)):
                    super().do_GET()

            def log_message(self, *words):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

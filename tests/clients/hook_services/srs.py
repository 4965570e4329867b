"""A service for SRS's http_hooks, in the style of SRS's own example: one class per kind of callback, the body is a JSON
object, the answer is the number 0 or another one. Knows nothing of fanfare."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CODE_OK, CODE_DENIED = 0, 1


class Streams:
    """on_publish and on_unpublish."""

    def on_publish(self, req):
        # SRS's token authentication: the client's parameters, with their question mark.
        return CODE_OK if req["param"] == "?token=xxx" else CODE_DENIED

    def on_unpublish(self, req):
        return CODE_OK


class Sessions:
    """on_play and on_stop."""

    def on_play(self, req):
        return CODE_DENIED if "banned" in req["param"] else CODE_OK

    def on_stop(self, req):
        return CODE_OK


ROUTES = {"/api/v1/streams": Streams(), "/api/v1/sessions": Sessions()}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        req = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        code = getattr(ROUTES[self.path], req["action"])(req)
        print("{action} client={client_id} {vhost}/{app}/{stream} {param}".format(**req), flush=True)
        body = str(code).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", server.server_port, flush=True)
server.serve_forever()

"""A service for MediaMTX's authHTTPAddress, as its documents describe it: one address for everything, 20x lets in, 401
asks for credentials. Knows nothing of fanfare."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

USERS = {"ann": "hunter22"}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        req = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        may = {
            "publish": USERS.get(req["user"]) == req["password"] and req["user"] in USERS,
            "read": req["path"].startswith("live/"),
        }
        print(req["action"], req["path"], req["protocol"], req["user"], flush=True)
        self.send_response(200 if may[req["action"]] else 401)
        self.end_headers()

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", server.server_port, flush=True)
server.serve_forever()

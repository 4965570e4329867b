"""A service for nginx-rtmp's notify module, as guides for it show: looks a stream key up, hides it behind the public
name by a redirect, and answers 404 to others. Knows nothing of fanfare."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

KEYS = {"s3cr3t-key": "show"}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        # Takes the last value, as PHP does.
        form = {name: values[-1] for name, values in fields.items()}
        print(form["call"], form.get("name"), form["addr"], flush=True)
        if form["call"] == "publish":
            if form["name"] in KEYS:
                self.send_response(302)
                self.send_header("Location", KEYS[form["name"]])
            else:
                self.send_response(404)
        elif form["call"] == "play":
            self.send_response(200 if form["addr"] == "127.0.0.1" else 403)
        else:
            self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", server.server_port, flush=True)
server.serve_forever()

#!/usr/bin/env python3
"""What test.sh's relay finds outside: a web service for hooks on port 8085, and a name server that knows every name.

    test_service.py LOG       writes the path of each request to the file
"""
import http.server
import socket
import struct
import sys
import threading

ADDRESS = "127.0.0.1"
HAS_ADDRESS, IS_INTERNET = 1, 1


def main():
    log = open(sys.argv[1], "a", buffering=1)
    threading.Thread(target=answer_names, daemon=True).start()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            log.write(f"{self.headers['Host']}{self.path}\n")
            self.send_response(200)
            self.send_header("Content-Length", "1")
            self.end_headers()
            self.wfile.write(b"0")

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer((ADDRESS, 8085), Hook).serve_forever()


def answer_names():
    """Every name is this machine; no name has an IPv6 address."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((ADDRESS, 53))
    while True:
        request, peer = server.recvfrom(512)
        end = request.index(b"\0", 12) + 5
        question = request[12:end]
        (kind,) = struct.unpack(">H", question[-4:-2])
        answers = int(kind == HAS_ADDRESS)
        header = request[:2] + struct.pack(">5H", 0x8180, 1, answers, 0, 0)
        answer = struct.pack(">HHHIH", 0xC00C, HAS_ADDRESS, IS_INTERNET, 60, 4) + socket.inet_aton(ADDRESS)
        server.sendto(header + question + answer * answers, peer)


if __name__ == "__main__":
    main()

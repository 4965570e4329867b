"""The servers that measure.py and compare.py can start: how each is found, configured and started.

Each gets a directory of its own and a port on 127.0.0.1, accepts streams under /live/, and starts players at a key
frame where it has that option. Everything else is left at its default.
"""

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LOAD = ROOT / "target/release/fanfare-load"
RELAY = ROOT / "target/release/fanfare"
# What npm and cargo install for a comparison, outside of the repository.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fanfare-load"


class Missing(Exception):
    """A server is not installed; the text is how to get it."""


@dataclass(frozen=True)
class Ports:
    """On 127.0.0.1; 0 for those that are not used."""

    rtmp: int
    http: int = 0
    # With TLS.
    rtmps: int = 0
    https: int = 0


def command(name: str, port: int, directory: Path, http_port: int = 0, rtmps_port: int = 0, https_port: int = 0) -> list[str]:
    """The command line of the server of that name; writes its configuration into `directory`."""
    kind, _, option = name.partition(":")
    ports = Ports(port, http_port, rtmps_port, https_port)
    if kind == "fanfare":
        return fanfare(ports, directory, option)
    if kind == "bare":
        arguments = [need(LOAD), "limit", "--listen", f"127.0.0.1:{port}", "--window", option or "0"]
        if ports.rtmps:
            arguments += ["--listen-tls", f"127.0.0.1:{ports.rtmps}", *certificate(directory)]
        return arguments
    if kind == "nginx-tls":
        return nginx_tls(ports, directory, option)
    if kind == "receive":
        return [need(LOAD), "receive", "--listen", f"127.0.0.1:{port}", "--rest", option or "0"]
    if kind in PEERS and not option:
        return PEERS[kind](port, directory)
    raise Missing(f"unknown server {name}: fanfare, bare:WINDOW_MS, receive:REST_MS, nginx-tls, {', '.join(PEERS)}")


def fanfare(ports: Ports, directory: Path, option: str) -> list[str]:
    """On one core. `option` may be lines of its configuration, separated by commas:
    fanfare:cores=2,shutdown_timeout="0s". Another binary: fanfare:binary=/path/to/fanfare, before other lines."""
    binary, lines = need(RELAY), [line for line in option.split(",") if line]
    if lines and lines[0].startswith("binary="):
        binary = lines.pop(0).partition("=")[2]
    arguments = [binary, "--rtmp", f"127.0.0.1:{ports.rtmp}", "--http", f"127.0.0.1:{ports.http}", "--log-level", "warn"]
    if not (lines and lines[0].startswith("cores")):
        arguments += ["--cores", "1"]
    if ports.rtmps:
        _, pair, _, key = certificate(directory)
        arguments += ["--rtmps", f"127.0.0.1:{ports.rtmps}", "--https", f"127.0.0.1:{ports.https}"]
        lines += ["[tls]", f'certificates = [{{ certificate = "{pair}", key = "{key}" }}]']
    if lines:
        config = directory / "fanfare.toml"
        config.write_text("\n".join(lines) + "\n")
        arguments += ["--config", str(config)]
    return arguments


def certificate(directory: Path) -> list[str]:
    """A certificate of ECDSA P-256 for this machine, made once per directory, as arguments."""
    files = directory / "certificate"
    if not files.exists():
        make = [need(RELAY), "dev-cert", "--out", str(files), "localhost", "127.0.0.1"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    return ["--certificate", f"{files}/cert.pem", "--key", f"{files}/key.pem"]


def nginx_tls(ports: Ports, directory: Path, option: str) -> list[str]:
    """nginx `stream` with `ssl` in front of fanfare, both on the same CPU, ended together. nginx logs each connection that
    ends at level info, so it is quiet."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if not binary or not module.exists():
        raise Missing("nginx-tls: apt-get install nginx-core libnginx-mod-stream")
    _, pair, _, key = certificate(directory)
    config = directory / "nginx.conf"
    config.write_text(f"""
load_module {module};
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
worker_processes 1;
worker_rlimit_nofile 40000;
events {{ worker_connections 39000; }}
stream {{
    server {{
        listen 127.0.0.1:{ports.rtmps} ssl backlog=4096 reuseport;
        ssl_certificate {pair};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        ssl_session_cache off;
        tcp_nodelay on;
        proxy_pass 127.0.0.1:{ports.rtmp};
    }}
}}
""")
    relay = fanfare(Ports(ports.rtmp, ports.http), directory, option)
    proxy = [binary, "-p", str(directory), "-c", str(config), "-e", f"{directory}/error.log"]
    script = 'trap \'kill $(jobs -p); wait; exit\' TERM; {} & {} & wait -n; kill $(jobs -p); wait'
    return ["bash", "-c", script.format(shlex.join(relay), shlex.join(proxy))]


def nginx(port: int, directory: Path) -> list[str]:
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    module = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
    if not binary or not module.exists():
        raise Missing("nginx-rtmp: apt-get install nginx-core libnginx-mod-rtmp")
    config = directory / "nginx.conf"
    config.write_text(f"""
load_module {module};
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
worker_processes 1;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        chunk_size 60000;
        ping 1h;
        application live {{ live on; wait_key on; }}
    }}
}}
""")
    return [binary, "-p", str(directory), "-c", str(config), "-e", f"{directory}/error.log"]


def node_media_server(port: int, directory: Path) -> list[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise Missing("node-media-server: install Node.js and npm")
    home = CACHE / "node-media-server"
    script = home / "node_modules/node-media-server/bin/app.js"
    if not script.exists():
        home.mkdir(parents=True, exist_ok=True)
        install = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(home), "node-media-server@4"]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    config = {"bind": "127.0.0.1", "rtmp": {"port": port}, "notify": {"url": ""}, "record": {"auto": False},
              "store": {"path": str(directory / "data")}, "auth": {"play": False, "publish": False, "secret": ""}}
    (directory / "nms.json").write_text(json.dumps(config))
    return [node, str(script), "--config", str(directory / "nms.json"), "--no-admin"]


def xiu(port: int, _directory: Path) -> list[str]:
    binary = shutil.which("xiu") or shutil.which("xiu", path=str(CACHE / "xiu/bin"))
    if not binary:
        raise Missing(f"xiu: cargo install xiu (takes minutes; needs libopus-dev, pkg-config and cmake)")
    return [binary, "--rtmp", str(port), "--log", "error"]


def mediamtx(port: int, directory: Path) -> list[str]:
    binary = shutil.which("mediamtx")
    if not binary:
        raise Missing("mediamtx: https://github.com/bluenviron/mediamtx/releases, into a folder of PATH")
    config = directory / "mediamtx.yml"
    config.write_text(f"logLevel: warn\nrtmp: yes\nrtmpAddress: 127.0.0.1:{port}\nrtsp: no\nhls: no\nwebrtc: no\nsrt: no\n"
                      "paths:\n  all_others:\n")
    return [binary, str(config)]


def srs(port: int, directory: Path) -> list[str]:
    binary = shutil.which("srs") or shutil.which("srs", path="/usr/local/srs/objs")
    if not binary:
        raise Missing("srs: https://github.com/ossrs/srs, built, as srs in PATH or /usr/local/srs/objs")
    config = directory / "srs.conf"
    config.write_text(f"""
listen {port};
max_connections 19000;
daemon off;
pid {directory}/srs.pid;
srs_log_tank file;
srs_log_file {directory}/srs.log;
srs_log_level warn;
vhost __defaultVhost__ {{ chunk_size 60000; }}
""")
    return [binary, "-c", str(config)]


def need(binary: Path) -> str:
    if not binary.exists():
        raise Missing(f"{binary.name}: cargo build --release --workspace")
    return str(binary)


PEERS = {"nginx-rtmp": nginx, "node-media-server": node_media_server, "xiu": xiu,
         "mediamtx": mediamtx, "srs": srs}

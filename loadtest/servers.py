"""The servers that measure.py and compare.py can start: how each is found, configured and started.

Each gets a directory of its own and a port on 127.0.0.1, accepts streams under /live/, and starts players at a key
frame where it has that option. Everything else is left at its default.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LOAD = ROOT / "target/release/fanfare-load"
RELAY = ROOT / "target/release/fanfare"
# What npm and cargo install for a comparison, outside of the repository.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fanfare-load"


class Missing(Exception):
    """A server is not installed; the text is how to get it."""


def command(name: str, port: int, directory: Path, http_port: int = 0) -> list[str]:
    """The command line of the server of that name; writes its configuration into `directory`."""
    kind, _, option = name.partition(":")
    if kind == "fanfare":
        return fanfare(port, directory, option, http_port)
    if kind == "bare":
        return [need(LOAD), "limit", "--listen", f"127.0.0.1:{port}", "--window", option or "0"]
    if kind == "receive":
        return [need(LOAD), "receive", "--listen", f"127.0.0.1:{port}", "--rest", option or "0"]
    if kind in PEERS and not option:
        return PEERS[kind](port, directory)
    raise Missing(f"unknown server {name}: fanfare, bare:WINDOW_MS, receive:REST_MS, {', '.join(PEERS)}")


def fanfare(port: int, directory: Path, option: str, http_port: int) -> list[str]:
    """On one core. `option` may be lines of its configuration, separated by commas:
    fanfare:cores=2,shutdown_timeout="0s"."""
    arguments = [need(RELAY), "--rtmp", f"127.0.0.1:{port}", "--http", f"127.0.0.1:{http_port}",
                 "--log-level", "warn"]
    if not option.startswith("cores"):
        arguments += ["--cores", "1"]
    if option:
        config = directory / "fanfare.toml"
        config.write_text(option.replace(",", "\n") + "\n")
        arguments += ["--config", str(config)]
    return arguments


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

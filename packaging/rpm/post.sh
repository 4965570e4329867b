# Whether it is enabled is up to the system's presets, as for other packages: systemctl enable --now fanfare
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
if [ "$1" = 1 ] && command -v systemctl >/dev/null; then systemctl --no-reload preset fanfare.service || true; fi
exit 0

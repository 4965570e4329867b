# Removed, not upgraded.
if [ "$1" = 0 ] && command -v systemctl >/dev/null; then
    systemctl --no-reload disable fanfare.service || true
    if [ -d /run/systemd/system ]; then systemctl stop fanfare.service || true; fi
fi
exit 0

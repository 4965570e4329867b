if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    # Upgraded, not removed.
    if [ "$1" -ge 1 ]; then systemctl try-restart fanfare.service || true; fi
fi
# Removed: the folders of its files belong to no other package.
if [ "$1" = 0 ]; then
    find /etc/fanfare /usr/share/doc/fanfare /usr/share/licenses/fanfare -depth -type d -empty -delete 2>/dev/null
fi
exit 0

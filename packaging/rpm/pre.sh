# What sysusers.d/fanfare.conf says, before files of the package belong to the group.
getent group fanfare >/dev/null || groupadd --system fanfare
getent passwd fanfare >/dev/null || useradd --system --gid fanfare --home-dir /var/lib/fanfare --no-create-home \
    --shell /sbin/nologin --comment 'fanfare, a live RTMP relay' fanfare
exit 0

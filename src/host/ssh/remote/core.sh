# Runs the script and keeps what becomes of it. $1: the mark, $2: the script's directory, $3: setsid, where there is one,
# $4: the lock of this host, where it has one, $5: the seconds of its lease, $6: what they count from.
fl_run() {
  # The script turns its standard error to descriptor 3 itself. So this shell's own is silent unless the script was ended
  # by a signal: every sh says so there, and nothing else tells that from an exit code above 128. A bash that is called sh
  # does so only where it is told to be a bash.
  exec 3>&2 2>"$2/died"
  # shellcheck disable=SC3040 # Only a bash comes to it.
  [ -z "$BASH_VERSION" ] || set +o posix
  # A session of its own, so that all its processes can be found and ended.
  $3 /bin/sh "$2/script" </dev/null
  fl_code=$?
  # shellcheck disable=SC3040 # Only a bash comes to it.
  [ -z "$BASH_VERSION" ] || set -o posix
  exec 2>&3 3>&-
  # It has not begun, and does not any more: whoever took its second name knows that.
  [ ! -s "$2/began" ] || return
  # Where its script is gone, too, it has taken them away itself, or put something else over them.
  if [ -e "$2/script" ] && [ ! -e "$2/began" ]; then
    printf '%s-no cannot write into %s: nothing was begun%s-on\n' "$1" "$2" "$1" >&2
    return
  fi
  fl_how=$fl_code
  if [ "$fl_code" -gt 128 ] && [ -s "$2/died" ]; then
    fl_how=$(kill -l "$fl_code" 2>/dev/null) || fl_how=$fl_code
  fi
  [ -z "$4" ] || fl_extend "$4" "$5" "$6"
  # One write of a few bytes: whoever reads it before that finds it empty, which is taken as not there. Not synced: that can
  # take minutes on a busy host.
  { printf '%s\n' "$fl_how" >"$2/exit"; } 2>/dev/null
  # Behind all that the script wrote, also in the files: what stands after it was written by processes left behind.
  printf '%s-end %s\n' "$1" "$fl_how"
  printf '%s-end %s\n' "$1" "$fl_how" >&2
}

# While the script was at work nobody could take the lock; from here on it needs its lease again. $1 to $3: $4 to $6 above.
fl_extend() {
  fl_until=0
  { read -r fl_until fl_rest <"$1"; } 2>/dev/null
  [ "$fl_until" != 0 ] || return 0
  if [ "$3" = - ]; then
    fl_now=$(date +%s)
  else
    { read -r fl_now fl_rest </proc/uptime; } 2>/dev/null
    fl_now=${fl_now%%.*}
  fi
  { printf '%-12s' "$((fl_now + $2))" 1<>"$1"; } 2>/dev/null
}

# Without a connection, and without room on the disk, the other of its two outputs goes on: the script must not die of it.
fl_tee() {
  trap '' PIPE
  exec tee -a "$1" 2>/dev/null
}

{
  {
    fl_run "$@" 2>&3 3>&- 4>&- | fl_tee "$2/out" >&4 3>&- 4>&-
  } 3>&1 | fl_tee "$2/err" >&2 4>&-
} 4>&1

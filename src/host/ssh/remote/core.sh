# Runs the script and keeps what becomes of it. $1: the mark, $2: the script's directory, $3: setsid, where there is one.
fl_run() {
  # The script turns its standard error to descriptor 3 itself. So this shell's own is silent unless the script was ended
  # by a signal: every sh says so there, and nothing else tells that from an exit code above 128.
  exec 3>&2 2>"$2/died"
  # A session of its own, so that all its processes can be found and ended.
  $3 /bin/sh "$2/script" </dev/null
  fl_code=$?
  exec 2>&3 3>&-
  fl_how=$fl_code
  if [ "$fl_code" -gt 128 ] && [ -s "$2/died" ]; then
    fl_how=$(kill -l "$fl_code" 2>/dev/null) || fl_how=$fl_code
  fi
  # Whole or not at all. Not synced: that can take minutes on a busy host.
  if printf '%s\n' "$fl_how" >"$2/exit.new"; then
    mv -f -- "$2/exit.new" "$2/exit"
  fi 2>/dev/null
  # Behind all that the script wrote, also in the files: what stands after it was written by processes left behind.
  printf '%s-end %s\n' "$1" "$fl_how"
  printf '%s-end %s\n' "$1" "$fl_how" >&2
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

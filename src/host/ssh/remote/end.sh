# The script's living processes: its session, its process group, and whatever carries its token. A zombie is gone.
fl_list() {
  fl_found=
  for fl_file in /proc/[0-9]*/stat; do
    { read -r fl_line <"$fl_file"; } 2>/dev/null || continue
    fl_one=${fl_file#/proc/}
    fl_one=${fl_one%/stat}
    # shellcheck disable=SC2086 # The fields are numbers.
    set -- ${fl_line##*) }
    [ "$1" = Z ] && continue
    if [ -n "$fl_pid" ] && { [ "$3" = "$fl_pid" ] || [ "$4" = "$fl_pid" ]; }; then
      fl_found="$fl_found $fl_one"
    fi
  done
  # shellcheck disable=SC2013 # The names hold no blanks.
  for fl_file in $(grep -lF "FLEETLIFT_TOKEN=$fl_token" /proc/[0-9]*/environ 2>/dev/null); do
    fl_one=${fl_file#/proc/}
    fl_one=${fl_one%/environ}
    case "$fl_found " in
      *" $fl_one "*) ;;
      *) fl_found="$fl_found $fl_one" ;;
    esac
  done
}

# $1: signal, $2: how often it is sent. Waits five seconds for all of them to go: by the clock, too, where a walk through all
# processes takes longer than a nap.
fl_end_all() {
  fl_polls=0
  fl_since=
  while [ "$fl_polls" -lt 50 ]; do
    fl_list
    [ -z "$fl_found" ] && return 0
    if [ "$fl_polls" -lt "$2" ]; then
      # shellcheck disable=SC2086 # A list of numbers.
      kill -s "$1" $fl_found 2>/dev/null
    fi
    fl_nap
    fl_polls=$((fl_polls + 1))
    fl_now=
    { read -r fl_now fl_rest </proc/uptime; } 2>/dev/null || :
    : "${fl_since:=${fl_now%%.*}}"
    [ "$fl_polls" -lt 5 ] || [ "$((${fl_now%%.*} - fl_since))" -lt 5 ] || return 1
  done
  return 1
}

# Ends the script's processes and looks whether they are gone. Says `gone`, `alive <pids>`, `never`, or `over` where it had
# ended by itself.
fl_find_place
if fl_never; then
  fl_go
  echo never
  fl_end 0
fi
fl_go
if [ -s "$fl_place/exit" ] && [ ! -e "$fl_place/stopped" ]; then
  echo over
  fl_end 0
fi
# From here on its exit code is no word of its own: a script that is told to end may well end with 0.
: 2>/dev/null >"$fl_place/stopped"
# Whoever follows a script of an earlier controller does not know its token; the script's own file does.
if [ -z "$fl_token" ]; then
  fl_token=$(sed -n 's/^FLEETLIFT_TOKEN=//p' "$fl_place/script" 2>/dev/null | head -n 1)
fi

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
    if [ "$3" = "$fl_pid" ] || [ "$4" = "$fl_pid" ]; then
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

# $1: signal, $2: how often it is sent. Waits at most five seconds for all of them to go.
fl_end_all() {
  fl_polls=0
  while [ "$fl_polls" -lt 50 ]; do
    fl_list
    [ -z "$fl_found" ] && return 0
    if [ "$fl_polls" -lt "$2" ]; then
      # shellcheck disable=SC2086 # A list of numbers.
      kill -s "$1" $fl_found 2>/dev/null
    fi
    fl_nap
    fl_polls=$((fl_polls + 1))
  done
  return 1
}

if [ ! -r /proc/self/stat ]; then
  echo alive, or not: without /proc nothing can be proven
  { read -r fl_pid fl_born <"$fl_place/pid"; } 2>/dev/null && kill -s KILL -- "-$fl_pid" 2>/dev/null
  fl_end 0
fi
fl_find_pid
if [ -z "$fl_pid" ]; then
  echo alive, or not: the script has not said its process id
  fl_end 0
fi
# Asked once, then forced, as often as new ones are born.
if fl_end_all TERM 1 || fl_end_all KILL 50; then
  echo gone
else
  echo "alive:$fl_found"
fi
fl_end 0
